/**
 * Whether a title of a replay has to raise an alert: a rule on the recordings themselves, which
 * shares nothing with the heartbeats or with live.
 *
 * Every second of every viewer is laid on one time line, and the share of stalled time is taken
 * over every window. An alert must come where it is far above live's threshold for long with many
 * viewers, and must not come where it never nears the threshold or next to nobody watches. What is
 * between is not judged.
 *
 * Pure. Times are ms since the start of the replay, in recording time.
 *
 * @module
 */
import { isSeek, isShort, pairs, type PlaybackTrace } from "./recordings.ts";

/** Live's limits, as far as an expectation has to know them. */
export interface ExpectationRule {
  /** Ratio at which live opens. */
  readonly openRatio: number;
  /** Heartbeats that live wants in its window. */
  readonly minHeartbeats: number;
  readonly windowMs: number;
}

/** The limits that live has by default. */
export const DEFAULT_RULE: ExpectationRule = {
  openRatio: 0.05,
  minHeartbeats: 25,
  windowMs: 60_000,
};

/** How far from live's limits the evidence has to be to count as plain. */
const MARGIN = { above: 2, below: 1.5, sampleForAlert: 4, sampleForNone: 2, heldSeconds: 20 };

/** What must come of a title, and why when that is not judged. */
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

  /** Spreads what one viewer saw between two moments evenly over the seconds between them. */
  add(fromMs: number, toMs: number, stalledMs: number, shownMs: number): void {
    const lengthMs = toMs - fromMs;
    if (lengthMs <= 0) return;
    for (let second = Math.floor(fromMs / 1000); second * 1000 < toMs; second++) {
      const sum = this.#seconds[second];
      // What lies beyond the curve is not on it.
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
    return { alert: "either", why: `at most ${(nearest * 100).toFixed(1)} % stalled: too close` };
  }

  *#windows(windowMs: number): Generator<StallWindow> {
    const length = windowMs / 1000;
    let [stalled, shown] = [0, 0];
    for (const [second, { stalledMs, shownMs }] of this.#seconds.entries()) {
      const left = this.#seconds[second - length];
      stalled += stalledMs - (left?.stalledMs ?? 0);
      shown += shownMs - (left?.shownMs ?? 0);
      const all = stalled + shown;
      // One heartbeat for ten seconds watched, not counting those of state changes.
      yield { second, ratio: all > 0 ? stalled / all : 0, heartbeats: all / 10_000 };
    }
  }
}

/**
 * Adds a viewer of `trace` who starts at `shiftMs`. With `upTo` the recording is read as over at
 * that sample.
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

/** What holds when a recording can be read in two ways. */
export function eitherReading(one: Expected, other: Expected, why: string): Expected {
  return one.alert === other.alert ? one : { alert: "either", why };
}
