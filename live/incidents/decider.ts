/**
 * Lets the detector decide about each second of receipt time, in order.
 *
 * Decisions depend on what the streams hold, not on how fast they are read, nor by which process:
 * observations are poured into the detector up to a second, then that second is decided about. Where
 * nothing was received for long, the steps grow to a sixteenth of that time.
 *
 * Every process of live decides, so that any of them can go on at once; what the detector finds
 * becomes alerts in the one that leads. When another one takes over, the incidents are those that
 * were told.
 *
 * When the clock of the streams goes back by more than {@link MAX_REWIND_MS}, or leaps ahead of a
 * monotonic clock by as much, a new detector takes over the baselines and the open incidents, as
 * after a restart: an audience that only the clock has lost has not vanished.
 *
 * Pure: the caller passes the monotonic clock, which also bounds how long one call works.
 *
 * @module
 */
import type { IncidentAlert } from "../../shared/contract/alert.ts";
import type { Detector } from "../detect/detector.ts";
import type { Skip } from "../sharing/observation_batch.ts";
import type { Timeline } from "../sharing/timeline.ts";
import type { Moment } from "./incident.ts";
import type { Incidents } from "./incidents.ts";

/** Options and dependencies of a {@link Decider}. */
export interface DeciderOptions {
  /** Makes a detector that knows nothing. */
  readonly newDetector: () => Detector;
  readonly timeline: Pick<Timeline, "heardToMs" | "pour" | "coverage" | "firstMs">;
  /** False while alerts could not be published; a process that leads decides nothing then. */
  readonly canDecide: () => boolean;
  readonly onAlert: (alert: IncidentAlert) => void;
  /** Called with the time that each decision took, in ms. */
  readonly onDecided: (tookMs: number) => void;
  /** A monotonic clock, in ms. */
  readonly monotonicMs: () => number;
}

const STEP_MS = 1_000;
const SLICE_MS = 100;
/** Seconds due at once from which time without heartbeats is passed in growing steps. */
const CATCHING_UP_MS = 5_000;
const GAP_STEPS = 16;
/** A call works no longer than this, and one step. */
const MAX_TURN_MS = 25;
const MAX_REWIND_MS = 60_000;

/** Heartbeats of one stream that nobody read. */
interface LaneSkip extends Skip {
  readonly lane: number;
}

/** Decides about every second. */
export class Decider {
  /** The last second decided about, ms since the epoch as receipts are; −∞ before the first. */
  decidedMs = -Infinity;
  /** Times that the streams' clock was set back or ahead. */
  rewinds = 0;
  /** Share of the heartbeats that was seen, as of the last decision. */
  coverage = 1;
  #detector: Detector;
  #incidents: Incidents | undefined;
  #skips: LaneSkip[] = [];
  /** How far the streams were heard at the last call, and when that was. */
  #heard = { toMs: Infinity, atMs: 0 };
  /** How far they were heard before their clock leapt; undefined: it did not. */
  #leaptFromMs: number | undefined;

  constructor(readonly options: DeciderOptions) {
    this.#detector = options.newDetector();
  }

  /** The detector; another one after a rewind. */
  get detector(): Detector {
    return this.#detector;
  }

  /** What this process tells; undefined while another one leads. */
  get incidents(): Incidents | undefined {
    return this.#incidents;
  }

  /** From now on findings become alerts, and go on from `incidents`. */
  lead(incidents: Incidents): void {
    this.#incidents = incidents;
    this.#detector.adopt(incidents.openCells, this.#nowMs);
  }

  /** From now on another process tells what is found. */
  follow(): void {
    this.#incidents = undefined;
  }

  /** Notes that heartbeats of the stream number `lane` were skipped. */
  skipped(lane: number, skip: Skip): void {
    this.#skips.push({ ...skip, lane });
  }

  /** Decides about the seconds that are over; returns whether it is done, or has to be called again. */
  advance(): boolean {
    const { timeline, monotonicMs } = this.options;
    const heardToMs = timeline.heardToMs(this.decidedMs);
    if (heardToMs === undefined || !this.#mayDecide()) return true;
    if (heardToMs < this.decidedMs - MAX_REWIND_MS) this.#startAnew(heardToMs);
    // What was received before the leap is decided about first.
    const toMs = this.#leapOf(heardToMs) ?? heardToMs;
    if (this.decidedMs === -Infinity) this.decidedMs = secondOf(toMs) - STEP_MS;
    const startMs = monotonicMs();
    const mayGoOn = () => monotonicMs() - startMs < MAX_TURN_MS;
    for (let atMs = this.#nextMs(toMs); atMs <= toMs; atMs = this.#nextMs(toMs)) {
      if (!this.#pour(atMs, mayGoOn)) return false;
      this.#decide(atMs);
      if (!this.#mayDecide()) return true;
      if (!mayGoOn()) return false;
    }
    if (!this.#pour(Math.floor(toMs / SLICE_MS) * SLICE_MS, mayGoOn)) return false;
    if (this.#leaptFromMs === undefined) return true;
    // Heartbeats that fill the time say that it has passed, and was only read late.
    if (timeline.firstMs - this.#leaptFromMs > MAX_REWIND_MS) this.#startAnew(heardToMs);
    this.#leaptFromMs = undefined;
    return false;
  }

  /** The time to decide up to before a leap of the streams' clock; undefined: it has not leapt. */
  #leapOf(toMs: number): number | undefined {
    const before = this.#heard;
    const atMs = this.options.monotonicMs();
    this.#heard = { toMs, atMs };
    const leapMs = toMs - before.toMs - (atMs - before.atMs);
    if (leapMs > MAX_REWIND_MS) this.#leaptFromMs ??= before.toMs;
    return this.#leaptFromMs === undefined ? undefined : this.#leaptFromMs + STEP_MS;
  }

  /** Begins at the first observation instead of now, to know what the last minutes were. */
  beginAt(fromMs: number): void {
    if (this.decidedMs === -Infinity) this.decidedMs = secondOf(fromMs);
  }

  #mayDecide(): boolean {
    return this.#incidents === undefined || this.options.canDecide();
  }

  #pour(untilMs: number, mayGoOn: () => boolean): boolean {
    return this.options.timeline.pour(
      untilMs,
      (heartbeat, receivedAtMs, lane) => this.#detector.heartbeat(heartbeat, receivedAtMs, lane),
      mayGoOn,
    );
  }

  #nextMs(toMs: number): number {
    if (toMs - this.decidedMs <= CATCHING_UP_MS) return this.decidedMs + STEP_MS;
    const silentMs = this.decidedMs - this.#detector.sessions.newestMs;
    const stepMs = Math.max(STEP_MS, secondOf(silentMs / GAP_STEPS));
    // Not past what waits to be poured.
    const waitingMs = Math.max(this.decidedMs + STEP_MS, secondOf(this.options.timeline.firstMs));
    return Math.min(this.decidedMs + stepMs, secondOf(toMs), waitingMs);
  }

  #decide(atMs: number): void {
    const { timeline, onAlert, onDecided, monotonicMs } = this.options;
    const startMs = monotonicMs();
    this.#passSkips(atMs);
    this.coverage = timeline.coverage(atMs);
    const findings = this.#detector.tick(atMs, this.coverage);
    const moment: Moment = {
      nowMs: atMs,
      coverage: this.coverage,
      current: ({ signal, cell }, summed) => this.#detector.current(signal, cell, summed),
    };
    for (const alert of this.#incidents?.decide(findings, moment) ?? []) onAlert(alert);
    this.decidedMs = atMs;
    onDecided(monotonicMs() - startMs);
  }

  #passSkips(atMs: number): void {
    if (this.#skips.length === 0) return;
    for (const { lane, fromMs, toMs } of this.#skips) {
      if (fromMs < atMs) this.#detector.skipped(lane, toMs);
    }
    this.#skips = this.#skips.filter(({ fromMs }) => fromMs >= atMs);
  }

  get #nowMs(): number {
    return Number.isFinite(this.decidedMs) ? this.decidedMs : 0;
  }

  #startAnew(nowMs: number): void {
    this.rewinds += 1;
    const learned = this.#detector.snapshot();
    this.#detector = this.options.newDetector();
    this.#detector.restore(this.#incidents?.openCells ?? [], nowMs);
    this.#detector.load(learned, nowMs);
    this.decidedMs = -Infinity;
  }
}

function secondOf(ms: number): number {
  return Math.floor(ms / STEP_MS) * STEP_MS;
}
