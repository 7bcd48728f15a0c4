/**
 * Whether a title of a replay must alert: a rule on the recordings, which shares no code with
 * heartbeats or live.
 *
 * For every second the viewers of a title are counted who stalled for a part of one of live's spans.
 * An alert is required where many viewers are clearly impaired for some time, and wrong where few
 * are even possibly impaired. Cases between are not judged.
 *
 * Pure. Times are ms since the start of the replay, in recording time; live's spans are wall time,
 * which has `acceleration` times less of it.
 *
 * @module
 */
import { isSeek, isShort, pairs, type PlaybackTrace } from "./recordings.ts";

/** The limits of live that the rule uses. */
export interface ExpectationRule {
  /** Spans over which live judges a session, ms of wall time. */
  readonly spansMs: readonly number[];
  /** Part of a span that an impaired session has stalled. */
  readonly impairedPart: number;
  /** Time without a first frame after which a session is impaired, ms of wall time. */
  readonly stuckMs: number;
  /** Least impaired sessions of an incident, and least share of the audience. */
  readonly minImpaired: number;
  readonly minShare: number;
  /** Time in which live learns what is usual, ms of wall time, and the least share until then. */
  readonly learningMs: number;
  readonly learningShare: number;
}

/** The limits of live. */
export const DEFAULT_RULE: ExpectationRule = {
  spansMs: [10_000, 20_000, 60_000],
  impairedPart: 0.1,
  stuckMs: 10_000,
  minImpaired: 4,
  minShare: 0.05,
  learningMs: 120_000,
  learningShare: 0.2,
};

/** How far the evidence must be from the limits of live to be judged. */
const MARGIN = { above: 1.2, below: 2, viewersForAlert: 20, shareForAlert: 0.6, share: 1.3 };
/** How long many viewers must be clearly impaired, ms of wall time. */
const HELD_MS = 2_000;

/** Whether a title must alert, or why that is not judged. */
export type Expected =
  | { readonly alert: "must"; readonly sinceMs: number; readonly evidentMs: number }
  | { readonly alert: "must_not" }
  | { readonly alert: "either"; readonly why: string };

/** A part of a viewer's session. */
export interface ViewedInterval {
  readonly fromMs: number;
  readonly toMs: number;
  /** Spread evenly over the interval. */
  readonly stalledMs: number;
  /** Whether the viewer waits for the first frame. */
  readonly isWaiting: boolean;
}

/** The viewers of a title in one second. */
interface Second {
  watching: number;
  /** Impaired by a wide margin. */
  clearly: number;
  /** Impaired by the most generous reading. */
  possibly: number;
}

/** The viewers of one title, second by second. */
export class StallCurve {
  readonly #seconds: readonly Second[];
  #sinceSecond = Infinity;

  constructor(
    durationMs: number,
    readonly rule: ExpectationRule,
    readonly acceleration: number,
  ) {
    const length = Math.ceil(durationMs / 1000) + 1;
    this.#seconds = Array.from(
      { length },
      () => ({ watching: 0, clearly: 0, possibly: 0 }),
    );
  }

  /** Adds a viewer by the intervals of the session, in their order. */
  add(intervals: readonly ViewedInterval[]): void {
    const stalledMs = this.#stalledBySecond(intervals);
    const [first] = intervals;
    const last = intervals.at(-1);
    if (first === undefined || last === undefined) return;
    const shownMs = intervals.find(({ isWaiting }) => !isWaiting)?.fromMs ?? last.toMs;
    const stuckMs = first.fromMs + this.rule.stuckMs * this.acceleration;
    const sums = this.rule.spansMs.map(() => 0);
    for (let at = Math.floor(first.fromMs / 1000); at * 1000 < last.toMs; at++) {
      const second = this.#seconds[at];
      if (second === undefined) break;
      const part = this.#worstPart(sums, stalledMs, at) / this.rule.impairedPart;
      const isStalling = (stalledMs[at] ?? 0) > 0;
      const isStuck = at * 1000 >= stuckMs && at * 1000 < shownMs;
      second.watching++;
      if (part >= MARGIN.above) second.clearly++;
      if (part >= 1 / MARGIN.below || isStalling || isStuck) second.possibly++;
      if (isStalling) this.#sinceSecond = Math.min(this.#sinceSecond, at);
    }
  }

  /** Applies the rule to every second. */
  expected(): Expected {
    const heldSeconds = Math.ceil(HELD_MS * this.acceleration / 1000);
    let held = 0;
    let nearest = 0;
    for (const [at, second] of this.#seconds.entries()) {
      const { watching, clearly, possibly } = second;
      const isPlain = watching >= MARGIN.viewersForAlert &&
        clearly >= watching * MARGIN.shareForAlert;
      held = isPlain ? held + 1 : 0;
      if (held === heldSeconds) {
        return { alert: "must", sinceMs: this.#sinceSecond * 1000, evidentMs: (at + 1) * 1000 };
      }
      if (this.#mayAlert(at, second)) nearest = Math.max(nearest, possibly / watching);
    }
    if (nearest === 0) return { alert: "must_not" };
    const percent = (nearest * 100).toFixed(0);
    return { alert: "either", why: `up to ${percent} % possibly impaired: too close to the limit` };
  }

  #mayAlert(at: number, { watching, possibly }: Second): boolean {
    const { minImpaired, minShare, learningMs, learningShare } = this.rule;
    const isLearning = at * 1000 < learningMs * this.acceleration;
    const share = isLearning ? learningShare : minShare;
    return possibly >= minImpaired && possibly >= watching * share / MARGIN.share;
  }

  #stalledBySecond(intervals: readonly ViewedInterval[]): Float64Array {
    const sums = new Float64Array(this.#seconds.length);
    for (const { fromMs, toMs, stalledMs } of intervals) {
      if (stalledMs <= 0 || toMs <= fromMs) continue;
      for (let at = Math.floor(fromMs / 1000); at * 1000 < toMs && at < sums.length; at++) {
        const overlapMs = Math.min(toMs, (at + 1) * 1000) - Math.max(fromMs, at * 1000);
        sums[at] = (sums[at] ?? 0) + stalledMs * overlapMs / (toMs - fromMs);
      }
    }
    return sums;
  }

  // The largest part of a span that is stalled; moves the sums of the spans to the second `at`.
  #worstPart(sums: number[], stalledMs: Float64Array, at: number): number {
    let worst = 0;
    for (const [i, spanMs] of this.rule.spansMs.entries()) {
      const lengthMs = spanMs * this.acceleration;
      const left = stalledMs[at - Math.round(lengthMs / 1000)] ?? 0;
      const sum = (sums[i] ?? 0) + (stalledMs[at] ?? 0) - left;
      sums[i] = sum;
      worst = Math.max(worst, sum / lengthMs);
    }
    return worst;
  }
}

/**
 * The session of a viewer of `trace` who starts at `shiftMs`. `upTo` is the sample at which the
 * recording ends, if it is not the last one.
 */
export function traceIntervals(
  trace: PlaybackTrace,
  shiftMs: number,
  upTo?: number,
): ViewedInterval[] {
  const samples = upTo === undefined ? trace.samples : trace.samples.slice(0, upTo + 1);
  let started = false;
  let paused = false;
  return pairs(samples).map(({ a, b, at }) => {
    if (a.event) paused = a.event === "paused";
    const shownMs = Math.max(0, b.positionMs - a.positionMs);
    const starting = !started;
    started ||= shownMs > 0;
    const stands = !isSeek(a, b) && !starting && !paused && at !== upTo && isShort(a, b, shownMs);
    return {
      fromMs: shiftMs + a.tMs,
      toMs: shiftMs + b.tMs,
      stalledMs: stands ? b.tMs - a.tMs - shownMs : 0,
      isWaiting: !started,
    };
  });
}

/** The expectation of a recording that is ambiguous. */
export function eitherReading(one: Expected, other: Expected, why: string): Expected {
  return one.alert === other.alert ? one : { alert: "either", why };
}
