/**
 * Whether clocks agree: that of this process, and those of the servers that it works with.
 *
 * Each clock was read between two moments of the own one, so that a slow answer widens what is known
 * instead of looking like a difference. With three clocks the one that lies is named; with two, the
 * own one is the suspect.
 *
 * Pure. Times are ms since the epoch.
 *
 * @module
 */
import { Refused } from "../errors.ts";

/** Maximum difference of two clocks, ms. */
export const MAX_DIFFERENCE_MS = 60_000;
/** The name of the own clock. */
export const OWN_CLOCK = "this process";

/** A clock that was read. */
export interface ClockReading {
  readonly name: string;
  /** What it showed. */
  readonly ms: number;
  /** What the own clock showed before the question and after the answer. */
  readonly askedMs: number;
  readonly answeredMs: number;
}

/** How far a clock is ahead of the own one, ms. */
interface Offset {
  readonly name: string;
  readonly leastMs: number;
  readonly mostMs: number;
}

/** What clocks say together. */
export interface Agreement {
  /** The time by the clock that most others agree with. */
  readonly nowMs: number;
  /** The time by the clock that shows the earliest: it has certainly come. */
  readonly earliestMs: number;
  /** Which clocks differ by more than {@link MAX_DIFFERENCE_MS}; undefined: none. */
  readonly difference: string | undefined;
  /** Names of the clocks with which another one agrees. */
  readonly confirmed: readonly string[];
}

/** Compares `readings`, and the own clock, which shows `ownMs` now. */
export function agreementOf(readings: readonly ClockReading[], ownMs: number): Agreement {
  const own = { name: OWN_CLOCK, leastMs: 0, mostMs: 0 };
  const offsets = [...readings.map(offsetOf), own];
  const friends = (one: Offset) => offsets.filter((other) => distanceMs(one, other) === 0).length;
  // The first of those with most friends: the own clock only when it has more than any other.
  const trusted = offsets.reduce((best, each) => friends(each) > friends(best) ? each : best);
  const differing = offsets.filter((each) => distanceMs(each, trusted) > 0);
  return {
    nowMs: ownMs + Math.round((trusted.leastMs + trusted.mostMs) / 2),
    earliestMs: ownMs + Math.floor(Math.min(...offsets.map(({ leastMs }) => leastMs))),
    difference: differing.length === 0
      ? undefined
      : differing.map((each) => differenceText(each, trusted)).join("; "),
    confirmed: offsets.filter((each) => friends(each) > 1).map(({ name }) => name),
  };
}

/** The earliest time of clocks that agree. Throws {@link Refused} when they differ. */
export function agreedMs({ earliestMs, difference }: Agreement): number {
  if (difference === undefined) return earliestMs;
  throw new Refused(`clocks differ: ${difference}; set the clocks of the hosts right (NTP)`);
}

function offsetOf({ name, ms, askedMs, answeredMs }: ClockReading): Offset {
  // The own clock may be set back between question and answer.
  return {
    name,
    leastMs: ms - Math.max(askedMs, answeredMs),
    mostMs: ms - Math.min(askedMs, answeredMs),
  };
}

/** By how much two clocks differ for certain, ms; 0 within {@link MAX_DIFFERENCE_MS}. */
function distanceMs(one: Offset, other: Offset): number {
  const apartMs = Math.max(one.leastMs, other.leastMs) - Math.min(one.mostMs, other.mostMs);
  return apartMs > MAX_DIFFERENCE_MS ? apartMs : 0;
}

function differenceText(one: Offset, trusted: Offset): string {
  const way = one.leastMs > trusted.leastMs ? "ahead of" : "behind";
  return `the clock of ${one.name} is ${spanText(distanceMs(one, trusted))} ${way} that of ` +
    trusted.name;
}

function spanText(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 72 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}
