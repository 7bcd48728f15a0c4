import { assertEquals, assertThrows } from "@std/assert";
import { Misuse } from "./misuse.ts";
import { day, instant, integer, numberWithin, text } from "./parsers.ts";

Deno.test("integer and numberWithin accept decimal notation within their limits", () => {
  const whole = integer(-2, 10);
  assertEquals(["0", "10", "-2", "007"].map(whole.parse), [0, 10, -2, 7]);
  for (const given of ["11", "-3", "1.0", "1e1", "0x1", " 1", "1_0", "", "NaN", "+1"]) {
    assertThrows(() => whole.parse(given), Misuse, "is not a whole number from -2 to 10");
  }
  const open = integer(1);
  assertEquals(open.parse(String(Number.MAX_SAFE_INTEGER)), Number.MAX_SAFE_INTEGER);
  assertThrows(() => open.parse("9007199254740993"), Misuse, "is not a whole number of at least 1");
  assertEquals(["0", "0.25", "1"].map(numberWithin(0, 1).parse), [0, 0.25, 1]);
  for (const given of ["1.01", "-0.1", ".5", "5e-1", "Infinity", "1."]) {
    assertThrows(() => numberWithin(0, 1).parse(given), Misuse, "is not a number from 0 to 1");
  }
});

Deno.test("day and instant accept dates of the calendar only", () => {
  assertEquals(["2024-02-29", "0001-01-01"].map(day().parse), ["2024-02-29", "0001-01-01"]);
  for (const given of ["2023-02-29", "2024-13-01", "2024-1-1", "20240101", "2024-01-01T00:00Z"]) {
    assertThrows(() => day().parse(given), Misuse, "is not a day");
  }
  const read = instant().parse;
  assertEquals(read("2026-11-23T01:00:00Z"), Date.UTC(2026, 10, 23, 1));
  assertEquals(read("2026-11-23T01:00+05:30"), Date.UTC(2026, 10, 22, 19, 30));
  assertEquals(read("2026-11-23T23:59:59.5Z"), Date.UTC(2026, 10, 23, 23, 59, 59, 500));
  const wrong = ["2026-11-23", "2026-11-23T01:00:00", "2026-02-30T00:00Z", "2026-11-23T24:00Z"];
  for (const given of [...wrong, "2026-11-23T01:60Z", "2026-11-23T01:00+99:00", "now"]) {
    assertThrows(() => read(given), Misuse, "is not an instant");
  }
});

Deno.test("text is limited in length and has no control characters or outer spaces", () => {
  assertEquals(["a", "é 🎬", "🎬🎬🎬"].map(text(3).parse), ["a", "é 🎬", "🎬🎬🎬"]);
  for (const given of ["", "abcd", " a", "a ", "a\nb", "a\u0085", "\ud800", "a\u2028b"]) {
    assertThrows(() => text(3).parse(given), Misuse, "must be 1 to 3 characters");
  }
});
