import { assert, assertEquals, assertExists } from "@std/assert";
import { propertyRandom, type Random } from "../dev/testing/random.ts";
import { IntervalTally, type IntervalTotals } from "./totals.ts";

const INTERVAL_MS = 1_000;

interface ReceivedHeartbeat {
  readonly receivedAtMs: number;
  readonly playedMs: number;
}

/** Receipt times of a stream: ascending except for the clock of a new leader, with pauses. */
function aStream(random: Random, count: number): ReceivedHeartbeat[] {
  let clock = random.int(0, 2_000_000_000_000);
  return Array.from({ length: count }, () => {
    clock += random.chance(0.02) ? random.int(0, 9_000) : random.int(0, 80);
    const behind = random.chance(0.05) ? random.int(0, 300) : 0;
    return { receivedAtMs: clock - behind, playedMs: random.int(0, 600_000) };
  });
}

interface Group extends IntervalTotals {
  events: number;
  playedMs: number;
}

/** Every interval with heartbeats, in order, by grouping; an interval never follows a later one. */
function naive(receipts: readonly ReceivedHeartbeat[]): IntervalTotals[] {
  const groups: Group[] = [];
  for (const { receivedAtMs, playedMs } of receipts) {
    const own = Math.floor(receivedAtMs / INTERVAL_MS) * INTERVAL_MS;
    const last = groups.at(-1);
    const from = Math.max(own, last?.from ?? 0);
    if (last?.from === from) {
      last.events += 1;
      last.playedMs += playedMs;
    } else {
      const quietSinceMs = last === undefined ? 0 : last.from + INTERVAL_MS;
      groups.push({ from, quietSinceMs, events: 1, playedMs });
    }
  }
  return groups;
}

function tallied(
  receipts: readonly ReceivedHeartbeat[],
  interruptBefore: ReadonlySet<number> = new Set(),
) {
  const finished: IntervalTotals[] = [];
  const tally = new IntervalTally(INTERVAL_MS, (totals) => finished.push(totals));
  for (const [i, { receivedAtMs, playedMs }] of receipts.entries()) {
    if (interruptBefore.has(i)) tally.interrupt();
    tally.add(receivedAtMs, playedMs);
  }
  return finished;
}

Deno.test("every interval is reported once it is over, except the one in which reading started", () => {
  const random = propertyRandom("tally against grouping");
  for (let round = 0; round < 200; round++) {
    const receipts = aStream(random, random.int(0, 400));
    assertEquals(tallied(receipts), naive(receipts).slice(1, -1));
  }
});

Deno.test("a reader that starts late or is interrupted reports whole intervals only, with equal totals", () => {
  const random = propertyRandom("tally with interruptions");
  for (let round = 0; round < 200; round++) {
    // No clock that goes back: at the start of reading it would look like a recreated stream.
    const receipts = aStream(random, 400).map((each, i, all) => ({
      ...each,
      receivedAtMs: Math.max(
        ...all.slice(Math.max(0, i - 60), i + 1).map((one) => one.receivedAtMs),
      ),
    }));
    const all = new Map(naive(receipts).map((totals) => [totals.from, totals]));
    const breaks = new Set(Array.from({ length: random.int(1, 4) }, () => random.int(0, 399)));
    const joined = random.int(0, 300);
    for (const totals of tallied(receipts.slice(joined), breaks)) {
      const known = all.get(totals.from);
      assertExists(known);
      const { events, playedMs, quietSinceMs } = known;
      assertEquals([totals.events, totals.playedMs], [events, playedMs]);
      assert(totals.quietSinceMs >= quietSinceMs, "quietSinceMs covers only what was read");
    }
  }
});

Deno.test("totals start again when the stream is recreated or its clock goes back", () => {
  const at = (receivedAtMs: number) => ({ receivedAtMs, playedMs: 1 });
  const receipts = [90_100, 91_000, 91_500, 92_000, 5_100, 6_000, 6_100, 7_000].map(at);
  assertEquals(tallied(receipts), [
    { from: 91_000, quietSinceMs: 91_000, events: 2, playedMs: 2 },
    { from: 6_000, quietSinceMs: 6_000, events: 2, playedMs: 2 },
  ]);
});
