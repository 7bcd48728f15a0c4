import { assert, assertEquals, assertExists } from "@std/assert";
import { type PipelineAlert, pipelineAlertSchema } from "../../shared/contract/alert.ts";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import { IntervalTally, type IntervalTotals } from "../../shared/contract/totals.ts";
import {
  Drift,
  driftAlert,
  type DriftRules,
  type DriftVerdict,
  type Side,
  type Standing,
} from "./drift.ts";

const INTERVAL_MS = 60_000;
const RULES: DriftRules = {
  limit: 0.01,
  minEvents: 100,
  openAfter: 2,
  resolveAfter: 5,
  maxWaiting: 1_440,
};

interface Received {
  readonly receivedAtMs: number;
  readonly playedMs: number;
}

function aStream(random: Random, count: number, perEventMs: number): Received[] {
  let receivedAtMs = 1_800_000_000_000;
  return Array.from({ length: count }, () => {
    receivedAtMs += random.chance(0.002) ? 5 * INTERVAL_MS : random.int(0, 2 * perEventMs);
    return { receivedAtMs, playedMs: random.int(0, 20_000) };
  });
}

/** The totals of a reader that misses some messages unnoticed and is restarted at some. */
function read(
  received: readonly Received[],
  misses: (i: number) => boolean,
  restarts: ReadonlySet<number>,
): IntervalTotals[] {
  const finished: IntervalTotals[] = [];
  const tally = new IntervalTally(INTERVAL_MS, (totals) => finished.push(totals));
  for (const [i, { receivedAtMs, playedMs }] of received.entries()) {
    if (restarts.has(i)) tally.interrupt();
    if (!misses(i)) tally.add(receivedAtMs, playedMs);
  }
  return finished;
}

/** Adds both sides' totals in a random interleaving that keeps the order of each. */
function compared(random: Random, drift: Drift, live: IntervalTotals[], royalty: IntervalTotals[]) {
  const verdicts: DriftVerdict[] = [];
  const lists: Record<Side, IntervalTotals[]> = { live: [...live], royalty: [...royalty] };
  // One side may be far behind.
  const pace = random.next();
  while (lists.live.length + lists.royalty.length > 0) {
    const side = lists.live.length > 0 && (random.chance(pace) || lists.royalty.length === 0)
      ? "live"
      : "royalty";
    const totals = lists[side].shift();
    assertExists(totals);
    verdicts.push(...drift.add(side, totals));
  }
  return verdicts;
}

function someOf(random: Random, size: number, max: number): Set<number> {
  return new Set(Array.from({ length: random.int(0, max) }, () => random.int(0, size - 1)));
}

const never = () => false;

Deno.test("without a fault there is no difference, with restarts and with either side behind", () => {
  const random = propertyRandom("drift in good health");
  let samples = 0;
  for (let round = 0; round < 100; round++) {
    const received = aStream(random, 2_000, random.int(10, 3_000));
    const live = read(received, never, someOf(random, received.length, 4));
    const royalty = read(received, never, someOf(random, received.length, 4));
    const drift = new Drift(RULES);
    const verdicts = compared(random, drift, live, royalty);
    samples += verdicts.length;
    assertEquals(verdicts.filter(({ sample }) => sample.share !== 0), []);
    const both = new Set(live.map(({ from }) => from));
    const shared = royalty.filter(({ from }) => both.has(from)).length;
    assert(drift.compared >= shared, "what both have read from start to end is compared");
  }
  assert(samples > 500, `only ${samples} samples`);
});

Deno.test("messages missed by either side are measured, and drift only above the limit", () => {
  const random = propertyRandom("drift of a share");
  for (let round = 0; round < 60; round++) {
    const received = aStream(random, 30_000, 20);
    const p = random.pick([0, 0.001, 0.05, 0.3]);
    const missed = new Set(received.keys().filter(() => random.chance(p)));
    const misses = (i: number) => missed.has(i);
    const side = random.pick<Side>(["live", "royalty"]);
    const live = read(received, side === "live" ? misses : never, new Set());
    const royalty = read(received, side === "royalty" ? misses : never, new Set());
    const verdicts = compared(random, new Drift({ ...RULES, minEvents: 2_000 }), live, royalty);
    assert(verdicts.length >= 3);
    for (const { sample } of verdicts) {
      assert(Math.abs(sample.share - p) < 0.03 + p / 10, `${sample.share} of ${p}`);
    }
    assertEquals(verdicts.some(({ standing }) => standing === "drifting"), p > 0.01, `${p}`);
  }
});

Deno.test("an interval in which one side read nothing is compared", () => {
  const at = (minute: number, quietMinutes = 0, events = 100): IntervalTotals => ({
    from: minute * INTERVAL_MS,
    quietSinceMs: (minute - quietMinutes) * INTERVAL_MS,
    events,
    playedMs: events * 10,
  });
  for (const [reading, missing] of [["royalty", "live"], ["live", "royalty"]] as const) {
    const drift = new Drift(RULES);
    const shares = [
      ...[1, 2, 3, 4].flatMap((minute) => drift.add(reading, at(minute))),
      ...drift.add(missing, at(1)),
      ...drift.add(missing, at(4, 2)),
    ].map(({ sample }) => sample.share);
    assertEquals(shares, [0, 1, 1, 0]);
  }
});

Deno.test("an interval that one side did not read completely is not compared", () => {
  const at = (minute: number, quiet = 0) => ({
    from: minute * INTERVAL_MS,
    quietSinceMs: (minute - quiet) * INTERVAL_MS,
    events: 100,
    playedMs: 1_000,
  });
  const drift = new Drift(RULES);
  for (const minute of [1, 2, 3, 7, 8]) drift.add("royalty", at(minute));
  // Live started in minute 2; its totals of minute 7 were lost.
  for (const minute of [3, 8]) drift.add("live", at(minute));
  assertEquals([drift.compared, drift.uncompared, drift.waiting], [2, 3, 0]);
});

Deno.test("intervals with few events are merged into one sample", () => {
  const drift = new Drift(RULES);
  const verdicts = Array.from({ length: 40 }, (_, i) => {
    const totals = { from: i * INTERVAL_MS, quietSinceMs: i * INTERVAL_MS, playedMs: 100 };
    // Live alternates between one more and one less.
    drift.add("live", { ...totals, events: i % 2 === 0 ? 11 : 9 });
    return drift.add("royalty", { ...totals, events: 10 });
  }).flat();
  assertEquals(verdicts.length, 4);
  for (const { sample } of verdicts) {
    assertEquals(sample.royalty, { events: 100, playedMs: 1_000 });
    assertEquals(sample.live.events, 100);
    assert(sample.share > 0.09, "differences do not cancel out");
  }
});

Deno.test("memory is bounded when one side never reports again", () => {
  const drift = new Drift({ ...RULES, maxWaiting: 10 });
  for (let i = 0; i < 1_000; i++) {
    drift.add("royalty", { from: i * 1_000, quietSinceMs: i * 1_000, events: 1, playedMs: 1 });
  }
  assertEquals([drift.waiting, drift.uncompared], [10, 990]);
});

const NOW = 1_800_000_000_000;

function verdict(standing: Standing, share: number): DriftVerdict {
  const royalty = { events: 1_000, playedMs: 10_000_000 };
  const live = { events: 950, playedMs: 9_500_000 };
  return { standing, sample: { from: NOW - 60_000, to: NOW - 60_000, live, royalty, share } };
}

Deno.test("an incident opens once and is resolved by the stream that opened it", () => {
  const alertFor = (stream: string, standing: Standing, last?: PipelineAlert) =>
    driftAlert(stream, verdict(standing, 0.05), 0.01, last, NOW);
  const opened = alertFor("HEARTBEATS_1", "drifting");
  assertExists(opened);
  assertEquals(pipelineAlertSchema.parse(opened), opened);
  assertEquals([opened.status, opened.value, opened.limit], ["open", 0.05, 0.01]);
  assertEquals(
    opened.summary,
    "Live and royalty differ on HEARTBEATS_1: 5.00 % in the interval of 2027-01-15T07:59:00.000Z; " +
      "live read 950 events and 9500000 ms, royalty 1000 events and 10000000 ms",
  );
  assertEquals(alertFor("HEARTBEATS_1", "drifting", opened), undefined);
  assertEquals(alertFor("HEARTBEATS_2", "drifting", opened), undefined);
  assertEquals(alertFor("HEARTBEATS_2", "agreeing", opened), undefined);
  // A stream whose name is a prefix of the incident's.
  assertEquals(alertFor("HEARTBEATS", "agreeing", opened), undefined);
  assertEquals(alertFor("HEARTBEATS_1", "steady", opened), undefined);
  const resolved = alertFor("HEARTBEATS_1", "agreeing", opened);
  assertExists(resolved);
  assertEquals([resolved.status, resolved.incident_id], ["resolved", opened.incident_id]);
  assertEquals(alertFor("HEARTBEATS_1", "agreeing", resolved), undefined);
  assertEquals(alertFor("HEARTBEATS_1", "agreeing"), undefined);
  assertEquals(alertFor("HEARTBEATS_2", "drifting", resolved)?.status, "open");
});

Deno.test("it takes two samples to open and five to resolve", () => {
  const drift = new Drift(RULES);
  let minute = 0;
  const next = (live: number): Standing => {
    const totals = { from: minute * INTERVAL_MS, quietSinceMs: minute * INTERVAL_MS };
    minute += 1;
    drift.add("royalty", { ...totals, events: 1_000, playedMs: 1_000 });
    const [verdict] = drift.add("live", { ...totals, events: live, playedMs: live });
    assertExists(verdict);
    return verdict.standing;
  };
  assertEquals([950, 1_000, 950, 950, 1_000, 950].map(next), [
    "steady",
    "steady",
    "steady",
    "drifting",
    "steady",
    "steady",
  ]);
  assertEquals([1_000, 995, 990, 1_000, 1_000].map(next).at(-1), "agreeing");
});
