import { assert, assertEquals } from "@std/assert";
import type { IncidentAlert } from "../../shared/contract/alert.ts";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { HeardStream } from "../../shared/dev/fleet/heard_stream.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { Detector } from "../detect/detector.ts";
import type { WatchedHeartbeat } from "../watch/sessions.ts";
import { Decider } from "./decider.ts";
import { Incidents } from "./incidents.ts";

const START_MS = 1_795_000_000_000;

/** A decider, the time it has heard to, and what it decides. */
class Desk {
  readonly heard = new HeardStream<WatchedHeartbeat>(START_MS);
  isOpen = true;
  /** Ms that each decision takes. */
  decisionMs = 1;
  monotonicMs = 0;
  readonly alerts: IncidentAlert[] = [];
  /** Seconds decided about, since the start. */
  readonly decided: number[] = [];
  readonly random = new Random(1);
  readonly decider: Decider;

  constructor() {
    const incidents = new Incidents({ pagesPerMinute: 10, silenceMs: 30_000 });
    this.decider = new Decider({
      newDetector: () => new Detector({ maxSessions: 2_000, limits: { cells: 2_000 } }),
      timeline: this.heard,
      canDecide: () => this.isOpen,
      onAlert: (alert) => this.alerts.push(alert),
      onDecided: () => {
        this.monotonicMs += this.decisionMs;
        this.decided.push((this.decider.decidedMs - START_MS) / 1_000);
      },
      monotonicMs: () => this.monotonicMs,
    });
    this.decider.lead(incidents);
  }

  /** Time passes to second `second`. */
  pass(second: number): void {
    this.heard.toMs = START_MS + second * 1_000;
    this.decider.advance();
  }

  /** A heartbeat each of `viewers` in `second`; they stall that share of the time. */
  beat(second: number, viewers: number, share: number, region = "de"): void {
    for (let i = 0; i < viewers; i++) {
      const atMs = START_MS + second * 1_000 + i;
      this.heard.toMs = atMs;
      const rebuffer_ms = share * 10_000;
      const heartbeat = aHeartbeat(this.random, atMs, {
        session_id: `${region}-${i}`,
        region,
        title_id: "t",
        seq: 10 + Math.floor(second),
        rebuffer_ms,
        played_ms: 10_000 - rebuffer_ms,
      });
      this.heard.add(heartbeat, atMs);
      this.decider.advance();
    }
  }

  /** Subjects are those of one cell here, so statuses tell all. */
  statuses(): string[] {
    return this.alerts.map(({ status }) => status).filter((status) => status !== "update");
  }
}

Deno.test("each second is decided about once, in order, before the heartbeats of the next", () => {
  const desk = new Desk();
  desk.beat(0, 10, 0);
  desk.pass(0.5);
  assertEquals(desk.decided, [0]);
  desk.beat(3.2, 10, 1);
  assertEquals(desk.decided, [0, 1, 2, 3]);
  desk.pass(3.9);
  desk.pass(2);
  assertEquals(desk.decided, [0, 1, 2, 3], "time that goes back a little is waited for");
  desk.pass(4.1);
  assertEquals(desk.decided.at(-1), 4);
  desk.heard.isKnown = false;
  desk.decider.advance();
  assertEquals(desk.decided.at(-1), 4, "nothing is decided about what is unknown");
});

Deno.test("a backlog is decided second by second: what was paged then is paged now", () => {
  const desk = new Desk();
  for (let second = 0; second < 300; second += 10) {
    desk.beat(second, 50, second >= 100 && second < 150 ? 1 : 0);
    desk.beat(second + 1, 50, 0, "jp");
  }
  assertEquals(desk.statuses(), ["open", "resolved"]);
  const [open] = desk.alerts;
  assert(open && open.at >= START_MS + 100_000 && open.at < START_MS + 112_000);
  assertEquals(desk.decided.length, 292);
});

Deno.test("while alerts cannot be published nothing is decided, and nothing is lost", () => {
  const desk = new Desk();
  desk.beat(0, 50, 0);
  desk.isOpen = false;
  desk.beat(10, 50, 1);
  desk.pass(14);
  assertEquals([desk.decided, desk.statuses()], [[0], []]);
  desk.isOpen = true;
  desk.pass(15);
  assertEquals(desk.decided.at(-1), 15);
  assertEquals(desk.statuses(), ["open"]);
});

Deno.test("a call works for 25 ms at most and goes on at the next", () => {
  const desk = new Desk();
  desk.pass(0);
  desk.decisionMs = 10;
  desk.beat(1, 1, 0);
  const before = desk.decided.length;
  desk.pass(5.5);
  assertEquals(desk.decided.length - before, 3);
  desk.pass(5.5);
  assertEquals(desk.decided.at(-1), 5);
});

Deno.test("hours without heartbeats are passed in growing steps, the first minute in seconds", () => {
  const desk = new Desk();
  desk.decisionMs = 0;
  for (const second of [0, 10, 20]) desk.beat(second, 50, 0);
  desk.monotonicMs += 6 * 3_600_000;
  desk.pass(6 * 3_600);
  assertEquals(desk.decided.slice(0, 30), Array.from({ length: 30 }, (_, i) => i));
  assert(desk.decided.length < 200, `${desk.decided.length} decisions`);
  assert((desk.decided.at(-1) ?? 0) > 6 * 3_600 - 6);
  assertEquals(desk.statuses(), [], "that nothing comes is told by itself");
});

Deno.test("when the stream's clock leaps 26 h ahead, and back, nobody has vanished", () => {
  const desk = new Desk();
  const day = 26 * 3_600;
  let second = 0;
  const minutes = (offset: number) => {
    for (const endSecond = second + 180; second < endSecond; second += 10) {
      desk.beat(offset + second, 50, 0);
      desk.monotonicMs += 10_000;
      desk.pass(offset + second + 9);
    }
  };
  minutes(0);
  minutes(day);
  assertEquals([desk.statuses(), desk.decider.rewinds], [[], 1]);
  assert((desk.decided.at(-1) ?? 0) > day + 300);
  minutes(0);
  assertEquals([desk.statuses(), desk.decider.rewinds], [[], 2]);
  // What is wrong is found by the same clock as before.
  desk.beat(second, 50, 1);
  desk.pass(second + 3);
  assertEquals(desk.statuses(), ["open"]);
});

Deno.test("when the stream's clock goes back, detection goes on with what is open", () => {
  const desk = new Desk();
  for (let second = 0; second <= 20; second += 10) {
    desk.beat(second, 50, 0);
    desk.beat(second + 5, 50, 0, "jp");
  }
  desk.beat(30, 50, 1);
  desk.pass(32);
  assertEquals(desk.statuses(), ["open"]);
  desk.pass(-3_001);
  for (let second = -3_000; second <= -2_940; second += 10) {
    desk.beat(second, 50, 0);
    desk.beat(second + 5, 50, 0, "jp");
  }
  assertEquals(desk.decider.rewinds, 1);
  assertEquals(desk.statuses(), ["open", "resolved"]);
});
