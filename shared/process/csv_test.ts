import { assertEquals } from "@std/assert";
import { csvRows } from "./csv.ts";

const BROKEN = "a quote is in the wrong place or not closed";

Deno.test("rows come with the line they start on", () => {
  assertEquals(csvRows('\ufeffa,b\r\n"x, ""y""\r\nz",2\n,\n'), [
    { line: 1, fields: ["a", "b"] },
    { line: 2, fields: ['x, "y"\r\nz', "2"] },
    { line: 4, fields: ["", ""] },
  ]);
  assertEquals(csvRows(""), []);
});

Deno.test("a broken quote spoils its own row, not the rest", () => {
  assertEquals(csvRows('a,b\nx"y,1\nc,d\n"e,f\ng,h\n'), [
    { line: 1, fields: ["a", "b"] },
    { line: 2, fields: [], problem: BROKEN },
    { line: 3, fields: ["c", "d"] },
    { line: 4, fields: [], problem: BROKEN },
    { line: 5, fields: ["g", "h"] },
  ]);
});

Deno.test("a file of nothing but broken quotes ends", () => {
  assertEquals(csvRows('a"\n'.repeat(10_000)).length, 100);
});
