/**
 * Feeds the detector and lets it decide about each second of receipt time, in order.
 *
 * Decisions depend on what the stream holds, not on how fast it is read: a backlog is decided second
 * by second, before the heartbeats of the next second count. Where nothing was received for long,
 * the steps grow to a sixteenth of that time.
 *
 * When the stream's clock goes back by more than {@link MAX_REWIND_MS}, a new detector takes over
 * the baselines and the open incidents, as after a restart.
 *
 * Pure: the caller passes a monotonic clock, which only bounds how long one call works.
 *
 * @module
 */
import type { IncidentAlert } from "../../shared/contract/alert.ts";
import type { Detector } from "../detect/detector.ts";
import type { WatchedHeartbeat } from "../watch/sessions.ts";
import type { Moment } from "./incident.ts";
import type { Incidents } from "./incidents.ts";

/** Options and dependencies of a {@link Decider}. */
export interface DeciderOptions {
  /** Makes a detector that knows nothing. */
  readonly newDetector: () => Detector;
  readonly incidents: Incidents;
  /** The receipt time up to which everything was heard, given the last time decided about. */
  readonly heardToMs: (decidedMs: number) => number | undefined;
  /** False while alerts could not be published; nothing is decided then. */
  readonly canDecide: () => boolean;
  readonly onAlert: (alert: IncidentAlert) => void;
  /** Called with the time that each decision took, in ms. */
  readonly onDecided: (tookMs: number) => void;
  /** A monotonic clock, in ms. */
  readonly monotonicMs: () => number;
}

const STEP_MS = 1_000;
/** Seconds due at once from which time without heartbeats is passed in growing steps. */
const CATCHING_UP_MS = 5_000;
const GAP_STEPS = 16;
/** A call works no longer than this, and one step. */
const MAX_TURN_MS = 25;
const MAX_REWIND_MS = 60_000;

/** Decides about every second. */
export class Decider {
  /** The last second decided about, ms since the epoch as receipts are; −∞ before the first. */
  decidedMs = -Infinity;
  /** Times that the stream's clock went back. */
  rewinds = 0;
  #detector: Detector;
  #nextLookMs = -Infinity;

  constructor(readonly options: DeciderOptions) {
    this.#detector = options.newDetector();
  }

  /** The detector; another one after a rewind. */
  get detector(): Detector {
    return this.#detector;
  }

  /** Takes in a heartbeat, after the seconds before it are decided about. */
  heartbeat(heartbeat: WatchedHeartbeat, receivedAtMs: number): void {
    if (receivedAtMs >= this.#nextLookMs) {
      this.#nextLookMs = secondOf(receivedAtMs) + STEP_MS;
      this.advance();
    }
    this.#detector.heartbeat(heartbeat, receivedAtMs);
  }

  /** Decides about the seconds that are over; to be called at least once a second. */
  advance(): void {
    const { heardToMs, canDecide, monotonicMs } = this.options;
    const toMs = heardToMs(this.decidedMs);
    if (toMs === undefined || !canDecide()) return;
    if (toMs < this.decidedMs - MAX_REWIND_MS) this.#startAnew(toMs);
    if (this.decidedMs === -Infinity) this.decidedMs = secondOf(toMs) - STEP_MS;
    const startMs = monotonicMs();
    for (let atMs = this.#nextMs(toMs); atMs <= toMs; atMs = this.#nextMs(toMs)) {
      this.#decide(atMs);
      if (monotonicMs() - startMs >= MAX_TURN_MS || !canDecide()) return;
    }
  }

  #nextMs(toMs: number): number {
    if (toMs - this.decidedMs <= CATCHING_UP_MS) return this.decidedMs + STEP_MS;
    const silentMs = this.decidedMs - this.#detector.sessions.newestMs;
    const stepMs = Math.max(STEP_MS, secondOf(silentMs / GAP_STEPS));
    return Math.min(this.decidedMs + stepMs, secondOf(toMs));
  }

  #decide(atMs: number): void {
    const { incidents, onAlert, onDecided, monotonicMs } = this.options;
    const startMs = monotonicMs();
    const findings = this.#detector.tick(atMs);
    const moment: Moment = {
      nowMs: atMs,
      coverage: 1,
      current: ({ signal, cell }, summed) => this.#detector.current(signal, cell, summed),
    };
    for (const alert of incidents.decide(findings, moment)) onAlert(alert);
    this.decidedMs = atMs;
    onDecided(monotonicMs() - startMs);
  }

  #startAnew(nowMs: number): void {
    this.rewinds += 1;
    const learned = this.#detector.snapshot();
    this.#detector = this.options.newDetector();
    this.#detector.restore(this.options.incidents.openCells, nowMs);
    this.#detector.load(learned, nowMs);
    this.decidedMs = -Infinity;
    this.#nextLookMs = -Infinity;
  }
}

function secondOf(ms: number): number {
  return Math.floor(ms / STEP_MS) * STEP_MS;
}
