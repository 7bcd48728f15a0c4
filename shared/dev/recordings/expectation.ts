/**
 * Whether a title of a replay must alert: a rule on the recordings, which shares no code with
 * heartbeats or live.
 *
 * The seconds of all viewers are added up on one time line, and the share of stalled time is
 * computed for every window. An alert is required where the share is far above live's threshold for
 * some time with many viewers, and wrong where it is never near the threshold or has few viewers.
 * Cases between are not judged.
 *
 * Pure. Times are ms since the start of the replay, in recording time.
 *
 * @module
 */
import { isSeek, isShort, pairs, type PlaybackTrace } from "./recordings.ts";

/** The limits of live that the rule uses. */
export interface ExpectationRule {
  /** Rebuffer ratio at which live opens an incident. */
  readonly openRatio: number;
  /** Minimum heartbeats in the window. */
  readonly minHeartbeats: number;
  readonly windowMs: number;
}

/** The default limits of live. */
export const DEFAULT_RULE: ExpectationRule = {
  openRatio: 0.05,
  minHeartbeats: 25,
  windowMs: 60_000,
};

/** How far the evidence must be from the limits of live to be judged. */
const MARGIN = { above: 2, below: 1.5, sampleForAlert: 4, sampleForNone: 2, heldSeconds: 20 };

/** Whether a title must alert, or why that is not judged. */
export type Expected =
  | { readonly alert: "must"; readonly sinceMs: number; readonly evidentMs: number }
  | { readonly alert: "must_not" }
  | { readonly alert: "either"; readonly why: string };

/** What all viewers saw in one second. */
interface Second {
  stalledMs: number;
  shownMs: number;
}

/** The window that ends with a second. */
interface StallWindow {
  readonly second: number;
  readonly ratio: number;
  readonly heartbeats: number;
}

/** Stalled and shown time of all viewers of one title, second by second. */
export class StallCurve {
  readonly #seconds: readonly Second[];

  constructor(durationMs: number) {
    const length = Math.ceil(durationMs / 1000) + 1;
    this.#seconds = Array.from({ length }, () => ({ stalledMs: 0, shownMs: 0 }));
  }

  /** Spreads the stalled and shown time of a viewer evenly over an interval. */
  add(fromMs: number, toMs: number, stalledMs: number, shownMs: number): void {
    const lengthMs = toMs - fromMs;
    if (lengthMs <= 0) return;
    for (let second = Math.floor(fromMs / 1000); second * 1000 < toMs; second++) {
      const sum = this.#seconds[second];
      // Beyond the end of the curve.
      if (sum === undefined) continue;
      const overlapMs = Math.min(toMs, (second + 1) * 1000) - Math.max(fromMs, second * 1000);
      sum.stalledMs += stalledMs * overlapMs / lengthMs;
      sum.shownMs += shownMs * overlapMs / lengthMs;
    }
  }

  /** Applies the rule to every window of the curve. */
  expected(rule: ExpectationRule): Expected {
    let held = 0;
    let nearest = 0;
    let evident: number | undefined;
    for (const { second, ratio, heartbeats } of this.#windows(rule.windowMs)) {
      const plain = ratio >= rule.openRatio * MARGIN.above &&
        heartbeats >= rule.minHeartbeats * MARGIN.sampleForAlert;
      held = plain ? held + 1 : 0;
      if (held === MARGIN.heldSeconds) evident ??= second + 1;
      if (heartbeats * MARGIN.sampleForNone >= rule.minHeartbeats) {
        nearest = Math.max(nearest, ratio);
      }
    }
    if (evident !== undefined) {
      const since = this.#seconds.findIndex(({ stalledMs }) => stalledMs > 0);
      return { alert: "must", sinceMs: since * 1000, evidentMs: evident * 1000 };
    }
    if (nearest * MARGIN.below < rule.openRatio) return { alert: "must_not" };
    return {
      alert: "either",
      why: `at most ${(nearest * 100).toFixed(1)} % stalled: too close to the limit`,
    };
  }

  *#windows(windowMs: number): Generator<StallWindow> {
    const length = windowMs / 1000;
    let [stalled, shown] = [0, 0];
    for (const [second, { stalledMs, shownMs }] of this.#seconds.entries()) {
      const left = this.#seconds[second - length];
      stalled += stalledMs - (left?.stalledMs ?? 0);
      shown += shownMs - (left?.shownMs ?? 0);
      const all = stalled + shown;
      // One heartbeat per ten seconds, without those of state changes.
      yield { second, ratio: all > 0 ? stalled / all : 0, heartbeats: all / 10_000 };
    }
  }
}

/**
 * Adds a viewer of `trace` who starts at `shiftMs`. `upTo` is the sample at which the recording
 * ends, if it is not the last one.
 */
export function addTrace(
  curve: StallCurve,
  trace: PlaybackTrace,
  shiftMs: number,
  upTo?: number,
): void {
  const samples = upTo === undefined ? trace.samples : trace.samples.slice(0, upTo + 1);
  let started = false;
  let paused = false;
  for (const { a, b, at } of pairs(samples)) {
    if (a.event) paused = a.event === "paused";
    const shownMs = Math.max(0, b.positionMs - a.positionMs);
    const starting = !started;
    started ||= shownMs > 0;
    if (isSeek(a, b)) continue;
    const stands = !starting && !paused && at !== upTo && isShort(a, b, shownMs);
    const stalledMs = stands ? b.tMs - a.tMs - shownMs : 0;
    curve.add(shiftMs + a.tMs, shiftMs + b.tMs, stalledMs, shownMs);
  }
}

/** The expectation of a recording that is ambiguous. */
export function eitherReading(one: Expected, other: Expected, why: string): Expected {
  return one.alert === other.alert ? one : { alert: "either", why };
}
