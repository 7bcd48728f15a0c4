/**
 * Runs one labelled world through detectors: what is true, what each said, and when.
 *
 * @module
 */
import type { Finding, FindingSignal } from "../../../live/detect/finding.ts";
import type { CellName } from "../../../live/watch/cells.ts";
import type { Heartbeat } from "../../contract/event.ts";
import type { Scope } from "../worlds/fault.ts";
import { World, WORLD_START_MS, type WorldOptions } from "../worlds/world.ts";

/** What a bench measures: the detector of live, or one to compare it with. */
export interface BenchedDetector {
  readonly heartbeat: (heartbeat: Heartbeat, receivedAtMs: number) => void;
  /** To be called each second; returns the decisions since the last call. */
  readonly tick: (nowMs: number) => readonly Finding[];
}

/** An incident that a detector should find. Times are ms since the start of the world. */
export interface LabelledTruth {
  readonly fromMs: number;
  readonly untilMs: number;
  /** Whom it hits. A page about other people is about nothing. */
  readonly scope: Scope;
  /** The cells that name its cause; default: those that fix exactly the dimensions of `scope`. */
  readonly names?: (cell: CellName) => boolean;
  /** Signals that are right; default: rebuffer. */
  readonly signals?: readonly FindingSignal[];
  /** True for what may page and need not: a blip of 20 s. */
  readonly isOptional?: boolean;
}

/** One world and what is true in it. */
export interface Trial {
  readonly world: WorldOptions;
  readonly truths: readonly LabelledTruth[];
  /** Pages before it are those of a cold start and counted apart. */
  readonly warmMs: number;
  readonly untilMs: number;
}

/** A decision and when it was made, ms since the start of the world. */
export interface Decided {
  readonly atMs: number;
  readonly finding: Finding;
}

/** What a detector said in a trial. */
export interface Heard {
  readonly decisions: readonly Decided[];
  /** Time spent in `heartbeat` and `tick`, and in the slowest tick, ms. */
  readonly busyMs: number;
  readonly slowestTickMs: number;
}

/** The outcome of a trial. */
export interface TrialOutcome {
  readonly heard: ReadonlyMap<string, Heard>;
  readonly heartbeats: number;
  readonly wallMs: number;
  /** Means over the time after the warm-up: viewers; titles × regions with one viewer and with five. */
  readonly viewers: number;
  readonly keys: number;
  readonly keysOfFive: number;
}

/** How often keys are counted. */
const SAMPLE_MS = 600_000;

/**
 * Runs `trial`; each of `detectors` receives the same heartbeats. `onSecond` is called after each
 * simulated second.
 */
export function runTrial(
  trial: Trial,
  detectors: ReadonlyMap<string, BenchedDetector>,
  onSecond: () => void = () => {},
): TrialOutcome {
  const world = new World(trial.world);
  const listeners = [...detectors].map(([name, detector]) => new Listener(name, detector));
  const startMs = performance.now();
  const samples: Sample[] = [];
  while (world.nowMs < trial.untilMs) {
    // A second's heartbeats at once: a clock read for each would cost more than the detector.
    const batch: Heartbeat[] = [];
    const receipts: number[] = [];
    world.second((heartbeat, receivedAtMs) => {
      batch.push(heartbeat);
      receipts.push(receivedAtMs);
    });
    for (const listener of listeners) listener.second(batch, receipts, world.nowMs);
    if (world.nowMs > trial.warmMs && world.nowMs % SAMPLE_MS === 0) samples.push(sampleOf(world));
    onSecond();
  }
  if (samples.length === 0) samples.push(sampleOf(world));
  const mean = (of: (sample: Sample) => number) =>
    samples.reduce((sum, each) => sum + of(each), 0) / samples.length;
  return {
    heard: new Map(listeners.map((listener) => [listener.name, listener])),
    heartbeats: world.heartbeats,
    wallMs: performance.now() - startMs,
    viewers: mean(({ viewers }) => viewers),
    keys: mean(({ keys }) => keys),
    keysOfFive: mean(({ keysOfFive }) => keysOfFive),
  };
}

/** Feeds one detector and keeps what it says. */
class Listener implements Heard {
  readonly decisions: Decided[] = [];
  busyMs = 0;
  slowestTickMs = 0;

  constructor(readonly name: string, readonly detector: BenchedDetector) {}

  second(batch: readonly Heartbeat[], receipts: readonly number[], nowMs: number): void {
    const { detector } = this;
    const startMs = performance.now();
    for (const [i, heartbeat] of batch.entries()) {
      detector.heartbeat(heartbeat, receipts[i] ?? WORLD_START_MS + nowMs);
    }
    const tickMs = performance.now();
    for (const finding of detector.tick(WORLD_START_MS + nowMs)) {
      this.decisions.push({ atMs: nowMs, finding });
    }
    const endMs = performance.now();
    this.busyMs += endMs - startMs;
    this.slowestTickMs = Math.max(this.slowestTickMs, endMs - tickMs);
  }
}

interface Sample {
  readonly viewers: number;
  readonly keys: number;
  readonly keysOfFive: number;
}

function sampleOf(world: World): Sample {
  const counts = new Map<string, number>();
  for (const { title, traits } of world.viewers) {
    if (traits === undefined) continue;
    const key = `${traits.region}\n${title}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const keysOfFive = [...counts.values()].filter((count) => count >= 5).length;
  return { viewers: world.watching, keys: counts.size, keysOfFive };
}
