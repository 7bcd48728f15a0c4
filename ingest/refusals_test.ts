import { assertEquals, assertMatch } from "@std/assert";
import type { Log } from "../shared/process/log.ts";
import { NotStored, RefusalCounts, StreamOutcome } from "./refusals.ts";

/** A log that keeps its lines. */
function logOf() {
  const lines: Record<string, unknown>[] = [];
  const add = (event: string, fields: object) => void lines.push({ event, ...fields });
  return { lines, log: { warn: add, info: add } as unknown as Log };
}

const FULL = new NotStored("stream_full", "maximum bytes exceeded", 10_000);

Deno.test("refusals are told at once, then at most every 10 s a reason, with all counts", () => {
  const { lines, log } = logOf();
  const counts = new RefusalCounts(log);
  for (let ms = 0; ms < 25_000; ms += 100) counts.add("stream_full", 3, ms, { fleet: "tv" });
  counts.add("in_flight", 7, 25_000, {});
  for (let ms = 25_000; ms < 60_000; ms += 5_000) counts.tell(ms);
  const told = lines.map(({ reason, events, requests }) => [reason, events, requests]);
  assertEquals(told, [
    ["stream_full", 3, 1],
    ["stream_full", 300, 100],
    ["stream_full", 300, 100],
    ["in_flight", 7, 1],
    ["stream_full", 147, 49],
  ]);
  assertEquals([...counts.events], [["stream_full", 750], ["in_flight", 7]]);
});

Deno.test("a stream refuses from its first refusal to its next acknowledgement", () => {
  const { lines, log } = logOf();
  const outcome = new StreamOutcome("HEARTBEATS", log);
  outcome.stored(0);
  assertEquals([outcome.isRefusing, outcome.refusing], [false, undefined]);
  outcome.refused(FULL, 1_000);
  assertMatch(outcome.refusing ?? "", /^HEARTBEATS: stream_full: maximum bytes.*MAX_BYTES/);
  outcome.refused(FULL, 30_000);
  outcome.stored(31_000);
  assertEquals(outcome.refusing, undefined);
  assertEquals(lines.map(({ event }) => event), [
    "ingest.landing.refuses",
    "ingest.landing.stores_again",
  ]);
  assertEquals(lines[1]?.refused_ms, 30_000);
});

Deno.test("refusals that alternate with acknowledgements do not fill the log", () => {
  const { lines, log } = logOf();
  const outcome = new StreamOutcome("HEARTBEATS", log);
  for (let ms = 0; ms < 20_000; ms += 10) {
    outcome.refused(FULL, ms);
    outcome.stored(ms + 5);
  }
  assertEquals(lines.length, 4);
});
