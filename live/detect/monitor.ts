/**
 * Heartbeats in, decisions out: the window and the rules over it, evaluated as event time moves.
 *
 * Pure: the caller passes the time of a clock that only goes forward, which is used to spread work
 * and never to judge heartbeats.
 *
 * @module
 */
import { type Decision, Rules } from "./rules.ts";
import { type Measured, Window } from "../watch/window.ts";

export interface MonitorOptions {
  readonly window: Window;
  readonly rules: Rules;
  /** False while decisions could not be told to anybody; none are made then. */
  readonly mayDecide: () => boolean;
  readonly decided: (decision: Decision) => void;
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
}

/** An evaluation is followed by so many times its own duration without one. */
const REST_SHARE = 10;

/** Watches all titles and regions. */
export class Monitor {
  counted = 0;
  late = 0;
  readonly #options: MonitorOptions;
  #bucket = 0;
  #evaluatedSinceTick = false;
  #restUntilMs = -Infinity;

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  /** Takes in a heartbeat that the stream received at `receivedAt`, ms since the epoch. */
  heartbeat(heartbeat: Measured, receivedAt: number): void {
    const { window } = this.#options;
    if (window.add(heartbeat, receivedAt) === "late") {
      this.late += 1;
      return;
    }
    this.counted += 1;
    if (window.bucket === this.#bucket) return;
    this.#bucket = window.bucket;
    // A replay or a backlog moves event time by minutes a second; a large window is not evaluated
    // at each of its seconds.
    if (this.#options.now() >= this.#restUntilMs) this.#evaluate();
  }

  /** Called about once a second; evaluates when no heartbeat has moved event time since the last. */
  tick(): void {
    this.#options.window.tick();
    if (!this.#evaluatedSinceTick) this.#evaluate();
    this.#evaluatedSinceTick = false;
  }

  #evaluate(): void {
    const { window, rules, mayDecide, decided, now } = this.#options;
    if (!mayDecide()) return;
    const startMs = now();
    for (const decision of rules.evaluate(window.cells(), window.watermarkMs)) decided(decision);
    const endMs = now();
    this.#evaluatedSinceTick = true;
    this.#restUntilMs = endMs + REST_SHARE * (endMs - startMs);
  }
}
