import { assertEquals } from "@std/assert";
import { amountText, pairLines } from "./day_line.ts";

Deno.test("pairLines pairs lines by key and leaves no line out", () => {
  const line = (titleId: string, events: bigint) => ({
    eventDay: "2026-11-22",
    territory: "de",
    titleId,
    events,
    msWatched: events * 10n,
  });
  const [a, b, c] = [line("a", 1n), line("b", 2n), line("c", 3n)];
  const other = line("b", 9n);
  assertEquals([...pairLines([b, a], [c, other])], [[b, other], [a, undefined], [undefined, c]]);
  // A line that one side has twice gets one counterpart.
  assertEquals([...pairLines([a, a], [a])], [[a, a], [a, undefined]]);
  assertEquals([...pairLines([], [])], []);
  assertEquals([amountText(b), amountText(undefined)], ["2 events and 20 ms", "nothing"]);
});
