import { assertEquals } from "@std/assert";
import { csvRows } from "./csv.ts";

const BROKEN = "a quote is in the wrong place or not closed";

Deno.test("rows have the line that they start on", () => {
  assertEquals(csvRows('\ufeffa,b\r\n"x, ""y""\r\nz",2\n,\n'), [
    { line: 1, fields: ["a", "b"] },
    { line: 2, fields: ['x, "y"\r\nz', "2"] },
    { line: 4, fields: ["", ""] },
  ]);
  assertEquals(csvRows(""), []);
});

Deno.test("a broken quote affects its own row only", () => {
  assertEquals(csvRows('a,b\nx"y,1\nc,d\n"e,f\ng,h\n'), [
    { line: 1, fields: ["a", "b"] },
    { line: 2, fields: [], problem: BROKEN },
    { line: 3, fields: ["c", "d"] },
    { line: 4, fields: [], problem: BROKEN },
    { line: 5, fields: ["g", "h"] },
  ]);
});

Deno.test("reading stops after 100 rows with broken quotes", () => {
  assertEquals(csvRows('a"\n'.repeat(10_000)).length, 100);
});
