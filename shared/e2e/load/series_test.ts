import { assertEquals } from "@std/assert";
import { bytesPerEvent, medianOf, secondsBehind } from "./series.ts";

const HISTORY = [
  { atSeconds: 0, total: 0 },
  { atSeconds: 1, total: 100 },
  { atSeconds: 2, total: 100 },
  { atSeconds: 3, total: 300 },
];

Deno.test("a reader is behind by the age of what it has not handled", () => {
  assertEquals(secondsBehind(HISTORY, 0), 0);
  assertEquals(secondsBehind(HISTORY, 100), 0.5);
  assertEquals(secondsBehind(HISTORY, 250), 2.5);
  assertEquals(secondsBehind(HISTORY, 300), 3);
  assertEquals(secondsBehind([], 5), 0);
});

Deno.test("a reader that is behind since before the load is so for all of it", () => {
  assertEquals(secondsBehind([{ atSeconds: 0, total: 50 }, { atSeconds: 2, total: 60 }], 40), 2);
});

Deno.test("bytes an event are those of a window, not of the whole run", () => {
  const written = [
    { atSeconds: 0, events: 0, bytes: 0 },
    { atSeconds: 1, events: 10, bytes: 1_000 },
    { atSeconds: 2, events: 20, bytes: 1_100 },
    { atSeconds: 3, events: 20, bytes: 1_200 },
    { atSeconds: 4, events: 20, bytes: 1_300 },
  ];
  assertEquals(bytesPerEvent(written, 1), [undefined, 100, 10, undefined, undefined]);
  assertEquals(bytesPerEvent(written, 10), [undefined, 100, 55, 60, 65]);
});

Deno.test("the median of none is none", () => {
  assertEquals([medianOf([]), medianOf([3, 1, 2])], [undefined, 2]);
});
