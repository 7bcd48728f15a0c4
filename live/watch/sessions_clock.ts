/**
 * Learns each session's clock offset, receipt − `ts`, and tells heartbeats about now from late
 * ones.
 *
 * The offset is the least that was seen (the delivery that waited least), allowed to rise by
 * {@link DRIFT} so that drifting clocks are followed; lateness is what a heartbeat has more. An
 * offset of a new session is believed at once when the clock is nearly right, else after two
 * heartbeats in step: an upload of old heartbeats comes faster than it was recorded. So a clock may
 * be two minutes slow or years off. A clock that is set is followed: forward after one heartbeat
 * more, back after {@link STEPS_TO_RELEARN}, because that looks like a delivery that waits.
 *
 * What was held back, as by a network that was cut, comes in a burst: of a session that was away or
 * late, the first heartbeat and those that come faster than they were recorded show that it is there
 * and nothing else ({@link HELD}).
 *
 * Pure: times are arguments.
 *
 * @module
 */

/** Lateness above which a heartbeat is not about now, in ms. */
export const MAX_LATENESS_MS = 15_000;
/** Rise of the offset that drift explains, per ms: well above any crystal's 100 ppm. */
const DRIFT = 0.001;
/** Difference of the two clocks' progress that is still in step, in ms. */
const STEP_TOLERANCE_MS = 3_000;
/** Least progress of `ts` that shows a step, in ms. */
const MIN_STEP_MS = 1_000;
/** Lateness that any delivery may have, in ms. */
const USUAL_LATENESS_MS = 3_000;
/** Late heartbeats in step after which the clock, not the delivery, is taken to have changed. */
const STEPS_TO_RELEARN = 3;

/** What a heartbeat is about. */
export const ON_TIME = 0;
/** It is about a past that is over: no evidence. */
export const LATE = 1;
/** The clock is far off and its next heartbeat has to show whether it runs in step. */
export const UNCONFIRMED = 2;
/** It was held back: its session is there, what it says of its interval is no evidence. */
export const HELD = 3;
/** One of the four. */
export type Timeliness = typeof ON_TIME | typeof LATE | typeof UNCONFIRMED | typeof HELD;

const UNKNOWN = 0;
const DOUBTED = 1;
const KNOWN = 2;

/** The clocks of all sessions, by row. */
export class Clocks {
  readonly #offsetMs: Float64Array;
  readonly #tsMs: Float64Array;
  readonly #receivedMs: Float64Array;
  readonly #state: Uint8Array;
  readonly #steps: Uint8Array;
  /** 1: what comes now may have been held back. */
  readonly #catchesUp: Uint8Array;
  /** Lateness of the heartbeat judged last beyond what is usual, in ms; 0 or more. */
  latenessMs = 0;

  constructor(capacity: number) {
    this.#offsetMs = new Float64Array(capacity);
    this.#tsMs = new Float64Array(capacity);
    this.#receivedMs = new Float64Array(capacity);
    this.#state = new Uint8Array(capacity);
    this.#steps = new Uint8Array(capacity);
    this.#catchesUp = new Uint8Array(capacity);
  }

  /** Forgets the row. */
  clear(row: number): void {
    this.#state[row] = UNKNOWN;
    this.#steps[row] = 0;
    this.#catchesUp[row] = 0;
  }

  /** `ts` of the row's newest heartbeat. */
  tsMs(row: number): number {
    return this.#tsMs[row] ?? 0;
  }

  /** Judges the next heartbeat of a session; `isBack` after it was away. */
  judge(row: number, receivedMs: number, tsMs: number, isBack = false): Timeliness {
    const gapMs = receivedMs - (this.#receivedMs[row] ?? 0);
    const stepMs = tsMs - (this.#tsMs[row] ?? 0);
    this.#receivedMs[row] = receivedMs;
    this.#tsMs[row] = tsMs;
    this.latenessMs = 0;
    const timeliness = this.#timelinessOf(row, receivedMs, tsMs, gapMs, stepMs);
    if (timeliness === LATE || isBack) this.#catchesUp[row] = 1;
    else if (this.#catchesUp[row] === 1 && gapMs >= stepMs / 2) this.#catchesUp[row] = 0;
    return timeliness === ON_TIME && this.#catchesUp[row] === 1 ? HELD : timeliness;
  }

  #timelinessOf(
    row: number,
    receivedMs: number,
    tsMs: number,
    gapMs: number,
    stepMs: number,
  ): Timeliness {
    const offsetMs = receivedMs - tsMs;
    if (this.#state[row] !== KNOWN) {
      const isBelieved = Math.abs(offsetMs) <= MAX_LATENESS_MS ||
        (this.#state[row] === DOUBTED && inStep(gapMs, stepMs));
      return isBelieved ? this.#learn(row, offsetMs) : this.#doubt(row, offsetMs);
    }
    const latenessMs = offsetMs - (this.#offsetMs[row] ?? 0);
    if (latenessMs < -MAX_LATENESS_MS) {
      return Math.abs(offsetMs) <= MAX_LATENESS_MS
        ? this.#learn(row, offsetMs)
        : this.#doubt(row, offsetMs);
    }
    if (latenessMs <= MAX_LATENESS_MS) {
      this.latenessMs = Math.max(0, latenessMs - USUAL_LATENESS_MS);
      const rise = latenessMs <= 0 ? latenessMs : Math.min(latenessMs, gapMs * DRIFT);
      return this.#learn(row, (this.#offsetMs[row] ?? 0) + rise);
    }
    const steps = inStep(gapMs, stepMs) ? (this.#steps[row] ?? 0) + 1 : 0;
    this.#steps[row] = steps;
    return steps >= STEPS_TO_RELEARN ? this.#learn(row, offsetMs) : LATE;
  }

  #learn(row: number, offsetMs: number): Timeliness {
    this.#offsetMs[row] = offsetMs;
    this.#state[row] = KNOWN;
    this.#steps[row] = 0;
    return ON_TIME;
  }

  #doubt(row: number, offsetMs: number): Timeliness {
    this.#offsetMs[row] = offsetMs;
    this.#state[row] = DOUBTED;
    return UNCONFIRMED;
  }
}

function inStep(gapMs: number, stepMs: number): boolean {
  return stepMs >= MIN_STEP_MS && gapMs >= stepMs / 2 &&
    Math.abs(gapMs - stepMs) <= STEP_TOLERANCE_MS;
}
