import { assert, assertEquals, assertExists } from "@std/assert";
import { propertyRandom, type Random } from "../dev/testing/random.ts";
import { IntervalTally, type IntervalTotals } from "./totals.ts";

const INTERVAL_MS = 1_000;

interface Heard {
  readonly receivedAt: number;
  readonly playedMs: number;
}

/** Receipts as a stream stamps them: ascending but for a new leader's clock, with pauses. */
function aStream(random: Random, count: number): Heard[] {
  let clock = random.int(0, 2_000_000_000_000);
  return Array.from({ length: count }, () => {
    clock += random.chance(0.02) ? random.int(0, 9_000) : random.int(0, 80);
    const behind = random.chance(0.05) ? random.int(0, 300) : 0;
    return { receivedAt: clock - behind, playedMs: random.int(0, 600_000) };
  });
}

interface Group extends IntervalTotals {
  events: number;
  playedMs: number;
}

/** Every interval with something in it, in order, by grouping; one message's clock may not go back. */
function naive(heard: readonly Heard[]): IntervalTotals[] {
  const groups: Group[] = [];
  for (const { receivedAt, playedMs } of heard) {
    const own = Math.floor(receivedAt / INTERVAL_MS) * INTERVAL_MS;
    const last = groups.at(-1);
    const from = Math.max(own, last?.from ?? 0);
    if (last?.from === from) {
      last.events += 1;
      last.playedMs += playedMs;
    } else {
      const quietSince = last === undefined ? 0 : last.from + INTERVAL_MS;
      groups.push({ from, quietSince, events: 1, playedMs });
    }
  }
  return groups;
}

function tallied(heard: readonly Heard[], interruptBefore: ReadonlySet<number> = new Set()) {
  const finished: IntervalTotals[] = [];
  const tally = new IntervalTally(INTERVAL_MS, (totals) => finished.push(totals));
  for (const [i, { receivedAt, playedMs }] of heard.entries()) {
    if (interruptBefore.has(i)) tally.interrupt();
    tally.add(receivedAt, playedMs);
  }
  return finished;
}

Deno.test("every interval is told once it is over, except the one joined on the way", () => {
  const random = propertyRandom("tally against grouping");
  for (let round = 0; round < 200; round++) {
    const heard = aStream(random, random.int(0, 400));
    assertEquals(tallied(heard), naive(heard).slice(1, -1));
  }
});

Deno.test("a reader that joins late or is interrupted tells whole intervals only, the same ones", () => {
  const random = propertyRandom("tally with interruptions");
  for (let round = 0; round < 200; round++) {
    // Behind by less than it takes to join: a clock that goes back right at the joint is a restart.
    const heard = aStream(random, 400).map((each, i, all) => ({
      ...each,
      receivedAt: Math.max(...all.slice(Math.max(0, i - 60), i + 1).map((one) => one.receivedAt)),
    }));
    const all = new Map(naive(heard).map((totals) => [totals.from, totals]));
    const breaks = new Set(Array.from({ length: random.int(1, 4) }, () => random.int(0, 399)));
    const joined = random.int(0, 300);
    for (const totals of tallied(heard.slice(joined), breaks)) {
      const known = all.get(totals.from);
      assertExists(known);
      const { events, playedMs, quietSince } = known;
      assertEquals([totals.events, totals.playedMs], [events, playedMs]);
      assert(totals.quietSince >= quietSince, "it vouches for no more than it has read");
    }
  }
});

Deno.test("a stream made anew, or a clock put back, starts again", () => {
  const at = (receivedAt: number) => ({ receivedAt, playedMs: 1 });
  const heard = [90_100, 91_000, 91_500, 92_000, 5_100, 6_000, 6_100, 7_000].map(at);
  assertEquals(tallied(heard), [
    { from: 91_000, quietSince: 91_000, events: 2, playedMs: 2 },
    { from: 6_000, quietSince: 6_000, events: 2, playedMs: 2 },
  ]);
});
