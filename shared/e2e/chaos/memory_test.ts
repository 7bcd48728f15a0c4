import { assertEquals, assertThrows } from "@std/assert";
import { courseOf } from "./memory.ts";

const MIB = 1024 ** 2;

function course(megabytes: (i: number) => number) {
  const { startBytes, middleBytes, endBytes, isFlat } = courseOf(
    Array.from({ length: 100 }, (_, i) => megabytes(i) * MIB),
  );
  return { start: startBytes / MIB, middle: middleBytes / MIB, end: endBytes / MIB, isFlat };
}

Deno.test("memory that grows all the time is growing", () => {
  assertEquals(course((i) => 100 + i), { start: 105, middle: 150, end: 195, isFlat: false });
});

Deno.test("what fills in the first half, and saws, is flat", () => {
  assertEquals(course((i) => Math.min(400, 100 + 10 * i)).isFlat, true);
  assertEquals(course((i) => 300 + (i % 7) * 20).isFlat, true);
  // One peak at the end of the run is no course.
  assertEquals(course((i) => i === 99 ? 900 : 300).isFlat, true);
});

Deno.test("a small process may gain some MiB, a large one a tenth", () => {
  assertEquals(course((i) => i < 90 ? 20 : 35).isFlat, true);
  assertEquals(course((i) => i < 90 ? 20 : 40).isFlat, false);
  assertEquals(course((i) => i < 90 ? 1_000 : 1_090).isFlat, true);
});

Deno.test("one sample is a course, none is not", () => {
  assertEquals(courseOf([5]), { startBytes: 5, middleBytes: 5, endBytes: 5, isFlat: true });
  assertThrows(() => courseOf([]), RangeError);
});
