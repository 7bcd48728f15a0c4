/**
 * How real viewers behave, as small tables to draw from: watch time, stalls, path quality.
 *
 * Watch time and stall ratios are quantiles and confidence intervals of the Puffer study (F. Y. Yan
 * et al., "Learning in situ: a randomized experiment in video streaming", NSDI 2020; tables of
 * StanfordSNR/puffer-statistics: 31,831 streams, 460,000 sessions). How long one stall lasts
 * is not in those tables; its two modes, 1 to 4 s and 20 to 50 s, are those of the YouTube sessions
 * of C. Gutterman et al., "Requet: real-time QoE detection for encrypted YouTube traffic", MMSys
 * 2019.
 *
 * @module
 */
import type { Random } from "../../dev/testing/random.ts";

/** A quantile: the share of all draws that are at most `value`. */
interface Quantile {
  readonly share: number;
  readonly value: number;
}

/** Watch time of Puffer's streams, in seconds. Half of them are zapping: at most two minutes. */
export const WATCH_SECONDS: readonly Quantile[] = [
  { share: 0, value: 0.3 },
  { share: 0.01, value: 0.861 },
  { share: 0.05, value: 3.108 },
  { share: 0.1, value: 7.352 },
  { share: 0.2, value: 20.162 },
  { share: 0.3, value: 36.798 },
  { share: 0.4, value: 62.636 },
  { share: 0.5, value: 120.904 },
  { share: 0.6, value: 267.97 },
  { share: 0.7, value: 707.944 },
  { share: 0.8, value: 1_875.177 },
  { share: 0.85, value: 3_098.51 },
  { share: 0.9, value: 4_977.9 },
  { share: 0.95, value: 8_933.298 },
  { share: 0.98, value: 18_073.453 },
  { share: 0.99, value: 30_963.097 },
  { share: 0.996, value: 51_204.9 },
  { share: 1, value: 77_326.8 },
];

/**
 * Puffer's rebuffer ratio: the lowest and highest end of the 95 % confidence intervals of its five
 * schemes. `slowShare` is the share of all watch time that slow paths have.
 */
export const STALL_RATIO = {
  all: { low: 0.000878, high: 0.0028861 },
  slow: { low: 0.0047228, high: 0.0128329 },
  slowShare: 0.155,
} as const;

/**
 * Rebuffer ratios of titles × regions in a world of unequal health, and how many titles × regions
 * have each. The last is the worst population of `DOMAIN.md`, 4.5 to 5 % in normal times.
 */
export const UNEQUAL_RATIOS: readonly Quantile[] = [
  { share: 0.3, value: 0.0012 },
  { share: 0.8, value: 0.005 },
  { share: 0.95, value: 0.01 },
  { share: 1, value: 0.05 },
];

/** Draws a watch time in ms. */
export function watchMs(random: Random): number {
  return Math.round(1_000 * interpolated(WATCH_SECONDS, random.next()));
}

/**
 * Draws the watch time, in ms, of a session that is being watched at one instant: long sessions are
 * met in proportion to their length.
 */
export function watchMsOfPresent(random: Random): number {
  const longest = 1_000 * (WATCH_SECONDS.at(-1)?.value ?? 1);
  for (;;) {
    const drawn = watchMs(random);
    if (random.next() * longest < drawn) return drawn;
  }
}

/** The value at `share` (0 to 1), interpolated between the logarithms of the quantiles. */
export function interpolated(table: readonly Quantile[], share: number): number {
  const at = Math.max(1, table.findIndex((each) => each.share >= share));
  const [below, above] = [table[at - 1], table[at]];
  if (below === undefined || above === undefined) throw new RangeError("the table has no range");
  const part = (share - below.share) / (above.share - below.share);
  return below.value * (above.value / below.value) ** part;
}

/** The value of the first step whose share is at least `share`. */
export function stepped(table: readonly Quantile[], share: number): number {
  return (table.find((each) => share <= each.share) ?? table.at(-1))?.value ?? 0;
}

/** How stalls come within one session. */
export interface StallShape {
  /** Share of stalls that are long, 0 to 1. */
  readonly longShare: number;
  /** Medians of short and long stalls, ms. */
  readonly shortMs: number;
  readonly longMs: number;
  /** Probability that the next stall follows soon: stalls come in bursts. */
  readonly burstShare: number;
}

/** As recorded: four stalls in five are short; mean about 8 s. */
export const RECORDED_STALLS: StallShape = {
  longShare: 0.2,
  shortMs: 1_800,
  longMs: 28_000,
  burstShare: 0.5,
};
/** Harder: every stall is long, mean about 22 s. */
export const LONG_STALLS: StallShape = {
  longShare: 1,
  shortMs: 1_800,
  longMs: 18_500,
  burstShare: 0.5,
};
/** The spread of the logarithm of a stall's length. */
const STALL_SIGMA = 0.6;
/** Mean time to the next stall of a burst. */
const BURST_GAP_MS = 20_000;
/** A player gives up. */
const LONGEST_STALL_MS = 120_000;

/** Draws how long a stall lasts, in ms. */
export function stallMs(random: Random, shape: StallShape): number {
  const median = random.chance(shape.longShare) ? shape.longMs : shape.shortMs;
  return Math.min(LONGEST_STALL_MS, median * Math.exp(STALL_SIGMA * normal(random)));
}

/** Mean length of a stall, in ms: that of a log-normal distribution is median · e^(σ²/2). */
export function meanStallMs({ longShare, longMs, shortMs }: StallShape): number {
  return Math.exp(STALL_SIGMA ** 2 / 2) * (longShare * longMs + (1 - longShare) * shortMs);
}

/**
 * Draws the time in ms from the end of a stall to the next, for a session that stalls for a share
 * `ratio` of its time in the long run: mean stall · (1 − ratio) / ratio on average, part of them
 * short.
 */
export function gapMs(random: Random, shape: StallShape, ratio: number): number {
  if (ratio <= 0) return Infinity;
  if (ratio >= 1) return 0;
  const mean = meanStallMs(shape) * (1 - ratio) / ratio;
  const rest = mean - shape.burstShare * BURST_GAP_MS;
  if (rest <= BURST_GAP_MS) return mean * exponential(random);
  if (random.chance(shape.burstShare)) return BURST_GAP_MS * exponential(random);
  return rest / (1 - shape.burstShare) * exponential(random);
}

/** Like {@link gapMs}, for a session that is in no burst: at its start. */
export function firstGapMs(random: Random, shape: StallShape, ratio: number): number {
  return gapMs(random, { ...shape, burstShare: 0 }, ratio) / (1 - shape.burstShare);
}

/** Draws from the exponential distribution of mean 1. */
export function exponential(random: Random): number {
  return -Math.log(1 - random.next());
}

/** Draws from the normal distribution of mean 0 and deviation 1 (G. E. P. Box, M. E. Muller, 1958). */
export function normal(random: Random): number {
  return Math.sqrt(2 * exponential(random)) * Math.cos(2 * Math.PI * random.next());
}

/** Draws a factor of mean 1 whose logarithm has the deviation `sigma`. */
export function unevenness(random: Random, sigma: number): number {
  return Math.exp(sigma * normal(random) - sigma ** 2 / 2);
}
