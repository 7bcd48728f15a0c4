import { assert, assertEquals } from "@std/assert";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import { BatchBuilder, ObservationBatch, type Skip } from "./observation_batch.ts";
import { Timeline } from "./timeline.ts";

const START_MS = 1_764_000_000_000;
const STREAMS = ["A", "B", "C"];

interface Read {
  readonly sequence: number;
  readonly receivedAtMs: number;
}

/** Heartbeats of one stream, in its order. */
function someReads(random: Random, count: number): Read[] {
  let sequence = 0;
  let receivedAtMs = START_MS;
  return Array.from({ length: count }, () => {
    sequence += random.int(1, 2);
    receivedAtMs += random.int(0, 40);
    return { sequence, receivedAtMs };
  });
}

function batchOf(
  reads: readonly Read[],
  heardToMs: number | null,
  skips: readonly (readonly [Skip, number])[] = [],
): ObservationBatch {
  const builder = new BatchBuilder();
  for (const [skip, next] of skips) builder.skipTo(skip, Math.max(1, next - skip.events), next);
  for (const { sequence, receivedAtMs } of reads) {
    builder.cover(sequence, 1);
    builder.add({
      session_id: `s${sequence}`,
      title_id: "t",
      region: "de",
      seq: sequence,
      ts: receivedAtMs,
      interval_ms: 10_000,
      state: "playing",
      played_ms: 10_000,
      rebuffer_ms: 0,
      device: { build: "1", model: "m", os: "" },
    }, receivedAtMs);
  }
  const batch = ObservationBatch.of(
    builder.finish({ heard_to: heardToMs, lag_ms: 0, by: "test" }),
  );
  assert(batch !== undefined);
  return batch;
}

/** What is poured until `untilMs`: stream, sequence and receipt of each. */
function poured(timeline: Timeline, untilMs = Infinity): string[] {
  const found: string[] = [];
  const isDone = timeline.pour(
    untilMs,
    ({ seq }, receivedAtMs, lane) => found.push(`${STREAMS[lane]} ${seq} ${receivedAtMs}`),
    () => true,
  );
  assert(isDone);
  return found;
}

function add(timeline: Timeline, stream: string, reads: readonly Read[]): void {
  timeline.add(stream, batchOf(reads, reads.at(-1)?.receivedAtMs ?? START_MS));
}

function assertNear(value: number, expected: number, within: number): void {
  assert(Math.abs(value - expected) <= within, `${value}, not ${expected}`);
}

Deno.test("property: the order depends on what the streams hold, not on who read them and how", () => {
  const random = propertyRandom("timeline order");
  for (let round = 0; round < 30; round++) {
    const all = STREAMS.map((stream) => ({ stream, reads: someReads(random, 300) }));
    const once = new Timeline(STREAMS, () => {});
    for (const { stream, reads } of all) add(once, stream, reads);
    const expected = poured(once);
    assertEquals(expected.length, 900);

    const shared = new Timeline(STREAMS, () => {});
    const found: string[] = [];
    const next = new Map(STREAMS.map((stream) => [stream, 0]));
    const isLeft = () => all.some(({ stream, reads }) => (next.get(stream) ?? 0) < reads.length);
    while (isLeft()) {
      const { stream, reads } = random.pick(all);
      const from = next.get(stream) ?? 0;
      // Another process reads again what was not acknowledged, in batches of its own.
      const back = random.chance(0.2) ? random.int(0, Math.min(20, from)) : 0;
      const to = Math.min(reads.length, from + random.int(1, 60));
      if (to > from - back) add(shared, stream, reads.slice(from - back, to));
      next.set(stream, Math.max(from, to));
      const heardMs = shared.heardToMs(-Infinity);
      if (heardMs !== undefined) found.push(...poured(shared, Math.floor(heardMs / 100) * 100));
    }
    found.push(...poured(shared));
    assertEquals(found, expected);
    assertEquals(shared.events, once.events);
  }
});

Deno.test("a stream that is not heard is not waited for after 8 s, and lowers the coverage", () => {
  const timeline = new Timeline(["A", "B"], () => {});
  const reads = Array.from(
    { length: 600 },
    (_, i) => ({ sequence: i + 1, receivedAtMs: START_MS + 100 * i }),
  );
  add(timeline, "A", reads.slice(0, 300));
  add(timeline, "B", reads.slice(0, 300));
  const lostMs = START_MS + 29_900;
  assertEquals(timeline.heardToMs(-Infinity), lostMs);
  poured(timeline, lostMs);
  assertEquals(timeline.coverage(lostMs), 1);
  add(timeline, "A", reads.slice(300, 370));
  assertEquals(timeline.heardToMs(lostMs), lostMs);
  add(timeline, "A", reads.slice(370));
  const nowMs = START_MS + 59_900;
  assertEquals(timeline.heardToMs(lostMs), nowMs);
  poured(timeline, nowMs);
  assertNear(timeline.coverage(nowMs), 0.5, 0.05);
});

Deno.test("what was skipped is told once, before what comes after it, and lowers the coverage", () => {
  const told: [number, Skip][] = [];
  const timeline = new Timeline(["A"], (lane, skip) => told.push([lane, skip]));
  add(timeline, "A", [{ sequence: 10, receivedAtMs: START_MS }]);
  const skip = { events: 3, fromMs: START_MS, toMs: START_MS + 9_000 };
  const after = [{ sequence: 14, receivedAtMs: START_MS + 9_500 }];
  timeline.add("A", batchOf(after, START_MS + 9_500, [[skip, 14]]));
  assertEquals(told, [[0, skip]]);
  // Read again by another process.
  timeline.add("A", batchOf(after, START_MS + 9_600));
  assertEquals([told.length, timeline.events, timeline.skipped], [1, 2, 3]);
  assertEquals(poured(timeline).length, 2);
  assertNear(timeline.coverage(START_MS + 10_000), 2 / 5, 0.01);
});

Deno.test("a stream that was made anew is taken in from its first sequence on", () => {
  const timeline = new Timeline(["A"], () => {});
  add(timeline, "A", [{ sequence: 500, receivedAtMs: START_MS }]);
  const anew = [1, 2].map((sequence) => ({ sequence, receivedAtMs: START_MS + 100 * sequence }));
  add(timeline, "A", anew);
  // Read again by another process.
  add(timeline, "A", anew);
  assertEquals(poured(timeline), [
    `A 500 ${START_MS}`,
    `A 1 ${START_MS + 100}`,
    `A 2 ${START_MS + 200}`,
  ]);
});

Deno.test("a stream of which only silence is heard lets the others go on", () => {
  const timeline = new Timeline(["A", "B"], () => {});
  add(timeline, "A", [{ sequence: 1, receivedAtMs: START_MS }]);
  assertEquals(timeline.heardToMs(-Infinity), undefined);
  timeline.add("B", batchOf([], START_MS + 5_000));
  assertEquals(timeline.heardToMs(-Infinity), START_MS);
  assertEquals(timeline.newestMs, START_MS + 5_000);
});
