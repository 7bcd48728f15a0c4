/**
 * How many heartbeats a second a load offers over its time, and when each request is due.
 *
 * Pure.
 *
 * @module
 */

/** The shapes that a load can have. */
export const PROFILES = ["constant", "premiere", "diurnal"] as const;
/** One of {@link PROFILES}. */
export type ProfileName = typeof PROFILES[number];

/** A load over time. */
export interface LoadProfile {
  readonly seconds: number;
  /** Heartbeats a second at a time, s since the start. */
  readonly rateAt: (second: number) => number;
  /** Heartbeats that are due before a time, s since the start. */
  readonly dueBefore: (second: number) => number;
}

/** Part of the peak before and after a premiere: the step is to five times as much. */
export const PREMIERE_BASE = 1 / 5;
/** When a premiere begins and ends, parts of the run. */
const PREMIERE_FROM = 0.3;
const PREMIERE_UNTIL = 0.7;
/** Part of the peak in the middle of the night. */
const NIGHT = 0.2;
const BISECTIONS = 50;

/** A profile of `seconds` whose highest rate is `peak`, heartbeats a second. */
export function loadProfile(name: ProfileName, peak: number, seconds: number): LoadProfile {
  switch (name) {
    case "constant":
      return { seconds, rateAt: () => peak, dueBefore: (second) => peak * second };
    case "premiere":
      return premiere(peak, seconds);
    case "diurnal":
      return diurnal(peak, seconds);
  }
}

function premiere(peak: number, seconds: number): LoadProfile {
  const [from, until] = [seconds * PREMIERE_FROM, seconds * PREMIERE_UNTIL];
  const base = peak * PREMIERE_BASE;
  return {
    seconds,
    rateAt: (second) => second >= from && second < until ? peak : base,
    dueBefore: (second) =>
      base * second + (peak - base) * (Math.min(Math.max(second, from), until) - from),
  };
}

// One sine from midnight to midnight.
function diurnal(peak: number, seconds: number): LoadProfile {
  const mean = peak * (1 + NIGHT) / 2;
  const swing = peak * (1 - NIGHT) / 2;
  const turn = 2 * Math.PI / seconds;
  return {
    seconds,
    rateAt: (second) => mean - swing * Math.cos(turn * second),
    dueBefore: (second) => mean * second - swing * Math.sin(turn * second) / turn,
  };
}

/** How many requests of `perPost` heartbeats a profile has; the last may be due at its end. */
export function requestsOf({ dueBefore, seconds }: LoadProfile, perPost: number): number {
  return Math.ceil(dueBefore(seconds) / perPost - 1e-9);
}

/** When the `events`-th heartbeat is due, s since the start. */
export function dueAt({ dueBefore, seconds }: LoadProfile, events: number): number {
  let [from, until] = [0, seconds];
  for (let i = 0; i < BISECTIONS && until - from > 1e-7; i++) {
    const middle = (from + until) / 2;
    if (dueBefore(middle) < events) from = middle;
    else until = middle;
  }
  return until <= 1e-7 ? 0 : until;
}

/**
 * Which viewers report next, if each reports once an interval and as many watch as the rate needs:
 * the first ones always, the last ones at the peak alone.
 */
export class Rounds {
  #at = -1;

  /** The next of `active` groups of viewers, 0 to `active - 1`. */
  next(active: number): number {
    this.#at = this.#at + 1 < active ? this.#at + 1 : 0;
    return this.#at;
  }
}
