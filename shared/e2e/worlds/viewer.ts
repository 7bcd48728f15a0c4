/**
 * One simulated viewer: a session after another, each with its stalls, pauses, clock and heartbeats.
 *
 * @module
 */
import type { Heartbeat } from "../../contract/event.ts";
import type { Random } from "../../dev/testing/random.ts";
import {
  exponential,
  firstGapMs,
  gapMs,
  RECORDED_STALLS,
  stallMs,
  type StallShape,
} from "./calibration.ts";
import type { WorldFault } from "./fault.ts";
import type { Traits } from "./population.ts";

/** Stalls of a fault: about 20 s each, as long as a player waits for a server that is overloaded. */
export const FAULT_STALLS: StallShape = {
  longShare: 1,
  shortMs: 1_800,
  longMs: 17_000,
  burstShare: 0,
};
/** Mean time between two pauses of a session, and their mean length. */
const PAUSE_EVERY_MS = 1_200_000;
const PAUSE_MS = 45_000;
/** The default time of a player between two heartbeats. */
export const INTERVAL_MS = 10_000;

/** What a world tells a session at its start. Times are ms since the start of the world. */
export interface Birth {
  readonly sessionId: string;
  readonly title: string;
  readonly traits: Traits;
  readonly startMs: number;
  readonly endMs: number;
  readonly firstFrameMs: number;
  readonly intervalMs: number;
  /** How far the device's clock is ahead, ms. */
  readonly clockMs: number;
}

/** What happened to a session between two heartbeats. Durations are ms. */
export interface Interval {
  readonly state: Heartbeat["state"];
  readonly intervalMs: number;
  readonly playedMs: number;
  readonly rebufferMs: number;
  readonly rebufferCount: number;
}

/** A place in the audience and the session that has it. All times are ms of the world. */
export class SimulatedViewer {
  sessionId = "";
  title = "";
  traits: Traits | undefined;
  startMs = 0;
  endMs = 0;
  firstFrameMs = 0;
  intervalMs = INTERVAL_MS;
  clockMs = 0;
  seq = 0;
  /** When the newest heartbeat was made. */
  sentMs = 0;
  /** When the next heartbeat is made, and when the stream receives it. */
  nextMs = 0;
  dueMs = 0;
  /** The fault that hits it. */
  fault: WorldFault | undefined;
  /** Heartbeats are held by the device until then. */
  offlineUntilMs = 0;
  held: Heartbeat[] | undefined;
  /** The next viewer of the same slot of the wheel. */
  after: SimulatedViewer | undefined;

  #stallFromMs = Infinity;
  #stallToMs = Infinity;
  #pauseFromMs = Infinity;
  #pauseToMs = Infinity;
  /** Stalls that are over, of the interval that is not reported yet. */
  #stalledMs = 0;
  #stalls = 0;
  /** Stalled time that its player will report when the stall is over. */
  #owedMs = 0;
  /** No burst follows the stall that a fault made. */
  #isRecovering = false;
  #ratio = 0;
  #shape = RECORDED_STALLS;

  constructor(readonly group: number, readonly random: Random) {}

  /** Begins another session; `ratio` is its stall ratio, `shape` its stalls. */
  begin(birth: Birth, ratio: number, shape: StallShape): void {
    this.sessionId = birth.sessionId;
    this.title = birth.title;
    this.traits = birth.traits;
    this.startMs = this.sentMs = birth.startMs;
    this.endMs = birth.endMs;
    this.firstFrameMs = birth.firstFrameMs;
    this.intervalMs = birth.intervalMs;
    this.clockMs = birth.clockMs;
    this.seq = 0;
    this.fault = this.held = undefined;
    this.offlineUntilMs =
      this.#owedMs =
      this.#stalledMs =
      this.#stalls =
        0;
    this.#pauseFromMs = birth.startMs + PAUSE_EVERY_MS * exponential(this.random);
    this.#pauseToMs = this.#pauseFromMs + PAUSE_MS * exponential(this.random);
    this.#ratio = ratio;
    this.#shape = shape;
    this.#stallFromMs = birth.firstFrameMs + firstGapMs(this.random, shape, ratio);
    this.#stallToMs = this.#stallFromMs + stallMs(this.random, shape);
  }

  /**
   * From `atMs` on it stalls a share `ratio` of its time. What it is in already goes on, unless the
   * ratio is 1 (it stalls for good) or `isOver`.
   */
  stallAs(atMs: number, ratio: number, shape: StallShape, isNew: boolean, isOver = false): void {
    const { random } = this;
    this.#finishStalls(atMs);
    this.#ratio = ratio;
    this.#shape = shape;
    const isStalled = this.#stallFromMs <= atMs;
    if (isOver && isStalled) {
      // The buffer fills: the picture is back within seconds.
      this.#stallToMs = Math.min(this.#stallToMs, atMs + 2_000 * random.next());
      this.#isRecovering = true;
      return;
    }
    if (ratio >= 1) {
      if (!isStalled) this.#stallFromMs = atMs + 2_000 * random.next();
      this.#stallToMs = Infinity;
      return;
    }
    if (isStalled) return;
    // In equilibrium from the start: that share of them stalls at once.
    this.#stallFromMs = isNew && random.chance(ratio)
      ? atMs + 2_000 * random.next()
      : atMs + firstGapMs(random, shape, ratio);
    this.#stallToMs = this.#stallFromMs + stallMs(random, shape);
  }

  /** Whether it stalls at `atMs`, the time of its newest heartbeat. */
  isStalled(atMs: number): boolean {
    return this.#stallFromMs < atMs && atMs < this.#stallToMs;
  }

  /** What happened since the newest heartbeat until `atMs`; advances the session. */
  until(atMs: number): Interval {
    const fromMs = this.sentMs;
    const intervalMs = Math.round(atMs - fromMs);
    if (this.firstFrameMs >= atMs) {
      this.sentMs = atMs;
      const state = atMs >= this.endMs ? "ended" : "starting";
      return { state, intervalMs, playedMs: 0, rebufferMs: 0, rebufferCount: 0 };
    }
    this.#finishStalls(atMs);
    const isStalled = this.#stallFromMs < atMs;
    const hasBegun = isStalled && this.#stallFromMs >= fromMs;
    const rebufferCount = this.#stalls + (hasBegun ? 1 : 0);
    const nowMs = isStalled ? atMs - Math.max(fromMs, this.#stallFromMs) : 0;
    const allStalledMs = this.#stalledMs + nowMs;
    this.#stalledMs = this.#stalls = 0;
    this.sentMs = atMs;
    const pausedMs = this.#pausedMs(fromMs, atMs);
    const isPaused = this.#pauseFromMs < atMs && atMs < this.#pauseToMs;
    const startedMs = Math.max(0, this.firstFrameMs - fromMs);
    const stalledMs = Math.max(0, Math.min(allStalledMs, intervalMs - pausedMs - startedMs));
    const playedMs = Math.max(0, Math.floor(intervalMs - pausedMs - startedMs - stalledMs));
    const rebufferMs = this.#reported(stalledMs, isStalled, playedMs, intervalMs);
    const state = atMs >= this.endMs
      ? "ended"
      : isPaused
      ? "paused"
      : isStalled
      ? "rebuffering"
      : "playing";
    return { state, intervalMs, playedMs, rebufferMs, rebufferCount };
  }

  /** Counts the stalls that ended before `atMs`; draws the next. */
  #finishStalls(atMs: number): void {
    while (this.#stallToMs <= atMs) {
      if (this.#stallFromMs >= this.sentMs) this.#stalls += 1;
      this.#stalledMs += Math.max(0, this.#stallToMs - Math.max(this.sentMs, this.#stallFromMs));
      const gap = this.#isRecovering ? firstGapMs : gapMs;
      this.#isRecovering = false;
      this.#stallFromMs = this.#stallToMs + gap(this.random, this.#shape, this.#ratio);
      this.#stallToMs = this.#stallFromMs + stallMs(this.random, this.#shape);
    }
  }

  #pausedMs(fromMs: number, atMs: number): number {
    if (this.#pauseFromMs >= atMs) return 0;
    const paused = Math.min(atMs, this.#pauseToMs) - Math.max(fromMs, this.#pauseFromMs);
    if (this.#pauseToMs <= atMs) {
      this.#pauseFromMs = this.#pauseToMs + PAUSE_EVERY_MS * exponential(this.random);
      this.#pauseToMs = this.#pauseFromMs + PAUSE_MS * exponential(this.random);
    }
    return Math.max(0, paused);
  }

  // Some players know a stall's length when it is over; then they report it as far as a heartbeat
  // may: played and rebuffered time is at most 1.5 intervals and a second.
  #reported(stalledMs: number, isStalled: boolean, playedMs: number, intervalMs: number): number {
    if (!this.traits?.reportsAtEnd) return Math.floor(stalledMs);
    this.#owedMs += stalledMs;
    if (isStalled) return 0;
    const reported = Math.min(this.#owedMs, intervalMs * 1.5 + 1_000 - playedMs);
    this.#owedMs = 0;
    return Math.floor(reported);
  }
}
