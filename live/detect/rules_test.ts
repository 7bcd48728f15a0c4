import { assert, assertEquals, assertExists } from "@std/assert";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import {
  type Decision,
  rebufferRatio,
  type RuleOptions,
  Rules,
  wilsonLowerBound,
} from "./rules.ts";
import { Window } from "../watch/window.ts";

const OPTIONS: RuleOptions = {
  openRatio: 0.05,
  resolveRatio: 0.02,
  minHeartbeats: 25,
  minStalledSessions: 3,
  openAfterEvaluations: 2,
  resolveAfterMs: 15_000,
  closeWithoutDataMs: 300_000,
  heartbeatMs: 10_000,
  windowBuckets: 60,
};
const T0 = 1_795_000_000_000;

interface Audience {
  readonly title: string;
  readonly viewers: number;
  /** The stalled part of viewer `i`'s last ten seconds at second `t`, ms. */
  readonly stalledMs: (viewer: number, t: number) => number;
}

/** Audiences whose viewers report every ten seconds, each at its own second. */
class Screening {
  readonly window = new Window({
    windowMs: 60_000,
    bucketMs: 1_000,
    maxKeys: 10_000,
    rewindAfterTicks: 10,
  });
  readonly decisions: (Decision & { readonly second: number })[] = [];
  second = 0;

  constructor(readonly rules = new Rules(OPTIONS)) {}

  /** Advances event time by `seconds`, evaluating after each second. */
  run(seconds: number, audiences: readonly Audience[]): void {
    for (const end = this.second + seconds; this.second < end; this.second++) {
      for (const audience of audiences) this.#report(audience);
      const eventMs = T0 + this.second * 1_000;
      const decisions = this.rules.evaluate(this.window.cells(), eventMs);
      this.decisions.push(...decisions.map((each) => ({ ...each, second: this.second })));
    }
  }

  #report({ title, viewers, stalledMs }: Audience): void {
    const ts = T0 + this.second * 1_000;
    for (let viewer = this.second % 10; viewer < viewers; viewer += 10) {
      const rebuffer_ms = stalledMs(viewer, this.second);
      const session_id = `${title}-${viewer}`;
      const played_ms = 10_000 - rebuffer_ms;
      const heartbeat = { title_id: title, region: "de", session_id, ts, played_ms, rebuffer_ms };
      this.window.add(heartbeat, ts + 200);
    }
  }

  changes(): string[] {
    return this.decisions.map((each) =>
      `${each.key.titleId} ${each.change}${each.change === "resolved" ? ` ${each.outcome}` : ""}`
    );
  }
}

const healthy = (title: string, viewers: number): Audience => ({
  title,
  viewers,
  stalledMs: () => 0,
});
const stalling = (title: string, viewers: number, stalled = 4_000): Audience => ({
  title,
  viewers,
  stalledMs: () => stalled,
});

Deno.test("an incident opens once and resolves once, and other titles are not affected", () => {
  const screening = new Screening();
  screening.run(120, [healthy("a", 40), healthy("b", 40)]);
  screening.run(60, [stalling("a", 40), healthy("b", 40)]);
  screening.run(120, [healthy("a", 40), healthy("b", 40)]);
  assertEquals(screening.changes(), ["a opened", "a resolved recovered"]);
  const [opened, resolved] = screening.decisions;
  assertExists(opened);
  assertExists(resolved);
  assert(opened.second - 120 <= 8, `opened ${opened.second - 120} s after the first stall`);
  assertEquals(opened.evidence.ratio, rebufferRatio(opened.evidence));
  // The last stalled heartbeat leaves the window after 60 s; 2 % is reached a little earlier.
  const resolvedAfter = resolved.second - 180;
  assert(resolvedAfter >= 60 && resolvedAfter <= 75, `resolved ${resolvedAfter} s after the end`);
});

Deno.test("one evaluation is not enough to open", () => {
  const screening = new Screening();
  screening.run(60, [healthy("a", 300)]);
  screening.run(1, [stalling("a", 300, 10_000)]);
  const first = screening.rules.evaluate([], T0);
  assertEquals(first, []);
  assertEquals(screening.changes(), []);
});

Deno.test("few viewers or few stalled sessions do not open an incident, whatever the ratio", () => {
  const screening = new Screening();
  const broken = (title: string, viewers: number, count: number): Audience => ({
    title,
    viewers,
    stalledMs: (viewer) => viewer < count ? 10_000 : 0,
  });
  screening.run(300, [stalling("alone", 1, 10_000), stalling("three", 3, 10_000)]);
  screening.run(300, [broken("two-of-six", 6, 2), broken("two-of-ten", 10, 2)]);
  assertEquals(screening.changes(), []);
});

Deno.test("many short heartbeats of few devices do not open an incident", () => {
  const { window, rules } = new Screening();
  for (let i = 0; i < 600; i++) {
    const ts = T0 + i * 100;
    const session_id = `s-${i % 3}`;
    const short = { title_id: "a", region: "de", session_id, ts, played_ms: 50, rebuffer_ms: 50 };
    window.add(short, ts);
    assertEquals(rules.evaluate(window.cells(), ts), []);
  }
});

Deno.test("between the two thresholds an open incident stays open", () => {
  const screening = new Screening();
  screening.run(60, [stalling("a", 50)]);
  screening.run(300, [stalling("a", 50, 300)]);
  assertEquals(screening.changes(), ["a opened"]);
});

Deno.test("absence of data does not resolve an incident", () => {
  const screening = new Screening();
  screening.run(60, [stalling("a", 50), healthy("b", 50)]);
  screening.run(250, [healthy("b", 50)]);
  assertEquals(screening.changes(), ["a opened"]);
  screening.run(60, [stalling("a", 50), healthy("b", 50)]);
  assertEquals(screening.changes(), ["a opened"], "the same incident continues");
});

Deno.test("health before a time without data does not count after it", () => {
  const screening = new Screening(new Rules({ ...OPTIONS, resolveAfterMs: 180_000 }));
  screening.run(60, [stalling("a", 50), healthy("b", 50)]);
  screening.run(150, [healthy("a", 50), healthy("b", 50)]);
  screening.run(70, [healthy("b", 50)]);
  screening.run(60, [healthy("a", 50), healthy("b", 50)]);
  assertEquals(screening.changes(), ["a opened"]);
});

Deno.test("an incident without data is closed as no_data", () => {
  const screening = new Screening();
  screening.run(60, [stalling("a", 50), healthy("b", 50)]);
  screening.run(400, [healthy("b", 50)]);
  assertEquals(screening.changes(), ["a opened", "a resolved no_data"]);
  const [, closed] = screening.decisions;
  assertExists(closed);
  const closedAfter = closed.second - 60;
  assert(closedAfter >= 358 && closedAfter <= 361, `closed after ${closedAfter} s`);
});

Deno.test("a restored incident is not opened again, and resolves", () => {
  const rules = new Rules(OPTIONS);
  rules.restore({ titleId: "a", region: "de" });
  assertEquals(rules.openKeys, [{ titleId: "a", region: "de" }]);
  const screening = new Screening(rules);
  screening.run(60, [stalling("a", 50)]);
  assertEquals(screening.changes(), []);
  screening.run(120, [healthy("a", 50)]);
  assertEquals(screening.changes(), ["a resolved recovered"]);
  assertEquals(rules.openKeys, []);
});

Deno.test("an incident resolves after the window was reset to an earlier time", () => {
  const rules = new Rules(OPTIONS);
  const cell = (heartbeats: number) => {
    const window = new Screening().window;
    for (let i = 0; i < heartbeats; i++) {
      const session_id = `s${i}`;
      const ts = T0;
      const heartbeat = { title_id: "a", region: "de", session_id, ts };
      window.add({ ...heartbeat, played_ms: 10_000, rebuffer_ms: 0 }, T0);
    }
    return window.cells();
  };
  rules.restore({ titleId: "a", region: "de" });
  assertEquals(rules.evaluate(cell(30), T0 + 3_600_000), []);
  assertEquals(rules.evaluate(cell(30), T0), []);
  assertEquals(rules.evaluate(cell(30), T0 + 15_000).length, 1);
});

Deno.test("healthy audiences of any size never alert", () => {
  const random = propertyRandom("no false alarm");
  for (let run = 0; run < 5; run++) {
    const screening = new Screening();
    const audiences = Array.from({ length: 120 }, (_, i) => noisy(random, `t${i}`));
    screening.run(600, audiences);
    assertEquals(screening.changes(), []);
  }
});

/** Viewers who stall at random, 0 to 1 % of the viewing time. */
function noisy(random: Random, title: string): Audience {
  const ratio = random.next() * 0.01;
  const maxStallMs = random.int(1_000, 9_000);
  const perHeartbeat = ratio * 10_000 / (maxStallMs / 2);
  return {
    title,
    viewers: random.int(1, 80),
    stalledMs: () => random.chance(perHeartbeat) ? random.int(1, maxStallMs) : 0,
  };
}

Deno.test("an incident is found within its time limit, which is shorter for larger audiences", () => {
  const random = propertyRandom("incidents are found");
  for (const [viewers, withinSeconds] of [[12, 30], [30, 20], [100, 15], [1_000, 8]] as const) {
    const screening = new Screening();
    const noise = noisy(random, "a");
    screening.run(90, [{ ...noise, viewers }]);
    // A third of the viewing time stalls, in some heartbeats more and in others less.
    const stalledMs = () => random.int(0, 6_600);
    screening.run(withinSeconds, [{ title: "a", viewers, stalledMs }]);
    assertEquals(screening.changes(), ["a opened"], `${viewers} viewers in ${withinSeconds} s`);
  }
});

Deno.test("wilsonLowerBound matches a value computed by hand", () => {
  // By hand: (0.1135 - 0.0512) / 1.0271.
  assert(Math.abs(wilsonLowerBound(0.1, 100) - 0.0607) < 0.0005);
  assertEquals(wilsonLowerBound(0, 50), 0);
  assertEquals(wilsonLowerBound(0.5, 0), 0);
});
