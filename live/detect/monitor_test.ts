import { assertEquals } from "@std/assert";
import { Monitor } from "./monitor.ts";
import { type Decision, Rules } from "./rules.ts";
import { Window } from "../watch/window.ts";

const T0 = 1_795_000_000_000;

class Scene {
  nowMs = 0;
  canDecide = true;
  /** How long an evaluation takes on the clock. */
  evaluationMs = 0;
  readonly decisions: string[] = [];
  /** Evaluations so far, by the event second they were made at. */
  readonly evaluations: number[] = [];
  readonly monitor: Monitor;

  constructor() {
    const rules = new Rules({
      openRatio: 0.05,
      resolveRatio: 0.02,
      minHeartbeats: 25,
      minStalledSessions: 3,
      openAfterEvaluations: 2,
      resolveAfterMs: 15_000,
      closeWithoutDataMs: 300_000,
      heartbeatMs: 10_000,
      windowBuckets: 60,
    });
    const evaluate = rules.evaluate.bind(rules);
    rules.evaluate = (cells, eventMs) => {
      this.evaluations.push((eventMs - T0) / 1_000);
      this.nowMs += this.evaluationMs;
      return evaluate(cells, eventMs);
    };
    this.monitor = new Monitor({
      window: new Window({
        windowMs: 60_000,
        bucketMs: 1_000,
        maxKeys: 10,
        rewindAfterTicks: 10,
      }),
      rules,
      canDecide: () => this.canDecide,
      onDecision: (decision: Decision) => this.decisions.push(decision.change),
      nowMs: () => this.nowMs,
    });
  }

  heartbeats(second: number, count: number, rebuffer_ms = 0): void {
    const ts = T0 + second * 1_000;
    for (let i = 0; i < count; i++) {
      const session_id = `s${i}`;
      const viewer = { title_id: "t", region: "de", session_id, ts };
      this.monitor.heartbeat({ ...viewer, played_ms: 10_000 - rebuffer_ms, rebuffer_ms }, ts);
    }
  }
}

Deno.test("every second of event time is evaluated once", () => {
  const scene = new Scene();
  for (let second = 0; second < 5; second++) scene.heartbeats(second, 3);
  assertEquals(scene.evaluations, [0, 1, 2, 3, 4]);
});

Deno.test("a tick evaluates when event time has not advanced", () => {
  const scene = new Scene();
  scene.heartbeats(0, 50, 5_000);
  scene.monitor.tick();
  assertEquals(scene.decisions, [], "the second has just been evaluated, with one heartbeat");
  scene.monitor.tick();
  scene.monitor.tick();
  assertEquals(scene.decisions, ["opened"]);
});

Deno.test("nothing is decided while decisions cannot be published; it is decided afterwards", () => {
  const scene = new Scene();
  scene.canDecide = false;
  scene.heartbeats(0, 50, 5_000);
  for (let i = 0; i < 5; i++) scene.monitor.tick();
  assertEquals(scene.evaluations, []);
  scene.canDecide = true;
  for (let i = 0; i < 3; i++) scene.monitor.tick();
  assertEquals(scene.decisions, ["opened"]);
});

Deno.test("long evaluations do not slow down reading a backlog", () => {
  const scene = new Scene();
  scene.evaluationMs = 10;
  for (let second = 0; second < 100; second++) {
    scene.heartbeats(second, 1);
    scene.nowMs += 10;
  }
  // One evaluation of 10 ms, then a pause of 100 ms, in which ten seconds of event time pass.
  assertEquals(scene.evaluations.length, 10);
});

Deno.test("late heartbeats are counted separately", () => {
  const scene = new Scene();
  scene.heartbeats(100, 2);
  scene.heartbeats(40, 3);
  scene.heartbeats(41, 1);
  assertEquals([scene.monitor.counted, scene.monitor.late], [3, 3]);
});
