/**
 * Adds heartbeats to the window and evaluates the rules as event time advances.
 *
 * Pure: the caller passes a monotonic clock, which only limits how often the rules are evaluated.
 *
 * @module
 */
import { type Decision, Rules } from "./rules.ts";
import { type MeasuredHeartbeat, Window } from "../watch/window.ts";

/** Options and dependencies of a {@link Monitor}. */
export interface MonitorOptions {
  readonly window: Window;
  readonly rules: Rules;
  /** False while decisions could not be published; the rules are not evaluated then. */
  readonly canDecide: () => boolean;
  /** Called with each decision. */
  readonly onDecision: (decision: Decision) => void;
  /** A monotonic clock, in ms. */
  readonly nowMs: () => number;
}

/** Minimum pause after an evaluation, as a multiple of its duration. */
const MIN_PAUSE_FACTOR = 10;

/** Watches all titles and regions. */
export class Monitor {
  /** Heartbeats counted in the window. */
  counted = 0;
  /** Heartbeats left out because they were later than the window. */
  late = 0;
  readonly #options: MonitorOptions;
  #bucket = 0;
  #evaluatedSinceTick = false;
  #pausedUntilMs = -Infinity;

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  /** Adds a heartbeat that the stream received at `receivedAt`, ms since the epoch. */
  heartbeat(heartbeat: MeasuredHeartbeat, receivedAt: number): void {
    const { window } = this.#options;
    if (window.add(heartbeat, receivedAt) === "late") {
      this.late += 1;
      return;
    }
    this.counted += 1;
    if (window.bucket === this.#bucket) return;
    this.#bucket = window.bucket;
    // A replay or a backlog advances event time by minutes per second; a large window is then not
    // evaluated for every second of event time.
    if (this.#options.nowMs() >= this.#pausedUntilMs) this.#evaluate();
  }

  /** To be called about once a second; evaluates if event time has not advanced since the last. */
  tick(): void {
    this.#options.window.tick();
    if (!this.#evaluatedSinceTick) this.#evaluate();
    this.#evaluatedSinceTick = false;
  }

  #evaluate(): void {
    const { window, rules, canDecide, onDecision, nowMs } = this.#options;
    if (!canDecide()) return;
    const startMs = nowMs();
    for (const decision of rules.evaluate(window.cells(), window.watermarkMs)) onDecision(decision);
    const endMs = nowMs();
    this.#evaluatedSinceTick = true;
    this.#pausedUntilMs = endMs + MIN_PAUSE_FACTOR * (endMs - startMs);
  }
}
