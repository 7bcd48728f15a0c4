import { assertEquals, assertThrows } from "@std/assert";
import { courseOf } from "./memory.ts";

const MIB = 1024 ** 2;

/** Of 100 samples, with everything full from the 20th. */
function course(megabytes: (i: number) => number, fullFrom = 20) {
  return courseOf(Array.from({ length: 100 }, (_, i) => megabytes(i) * MIB), fullFrom);
}

Deno.test("memory that grows all the time is growing", () => {
  assertEquals(course((i) => 100 + i), {
    startBytes: 105 * MIB,
    fullBytes: 125 * MIB,
    middleBytes: 150 * MIB,
    endBytes: 195 * MIB,
    verdict: "growing",
  });
});

Deno.test("what fills in the first half, and saws, is flat; growth in the second half counts", () => {
  assertEquals(course((i) => Math.min(400, 100 + 20 * i)).verdict, "flat");
  assertEquals(course((i) => Math.min(400, 100 + 6 * i)).verdict, "flat");
  assertEquals(course((i) => Math.max(100, 2 * i)).verdict, "growing");
  assertEquals(course((i) => 300 + (i % 7) * 20).verdict, "flat");
  // One peak at the end of the run is no course.
  assertEquals(course((i) => i === 99 ? 900 : 300).verdict, "flat");
});

Deno.test("a small process may gain some MiB, a large one a tenth", () => {
  assertEquals(course((i) => i < 90 ? 20 : 35).verdict, "flat");
  assertEquals(course((i) => i < 90 ? 20 : 40).verdict, "growing");
  assertEquals(course((i) => i < 90 ? 1_000 : 1_090).verdict, "flat");
});

Deno.test("a process may grow up to the limit that it has", () => {
  const samples = Array.from({ length: 100 }, (_, i) => (500 + 4 * i) * MIB);
  assertEquals(courseOf(samples, 20).verdict, "growing");
  assertEquals(courseOf(samples, 20, 900 * MIB).verdict, "flat");
  assertEquals(courseOf(samples, 20, 800 * MIB).verdict, "growing");
});

Deno.test("a run that ends while all fills is not judged", () => {
  assertEquals(course((i) => 100 + i, 81).verdict, "not judged");
  assertEquals(course((i) => 100 + i, 80).verdict, "flat");
  assertEquals(courseOf([5], 0), {
    startBytes: 5,
    fullBytes: undefined,
    middleBytes: 5,
    endBytes: 5,
    verdict: "not judged",
  });
  assertThrows(() => courseOf([], 0), RangeError);
});
