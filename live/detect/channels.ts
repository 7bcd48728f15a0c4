/**
 * What is counted as impaired, of whom, over which span; and the limits of each signal.
 *
 * A signal has one or more channels: rebuffering is looked at in spans of 10, 20 and 60 s, so that
 * a total stall opens within seconds and a slight one within a minute.
 *
 * @module
 */
import { KINDS } from "../watch/cells.ts";
import type { FindingSignal } from "./finding.ts";

/** One count of impaired sessions. */
export interface Channel {
  /** Count of the cell that is the impaired, and the one that is the whole. */
  readonly impaired: number;
  readonly of: number;
  readonly spanMs: number;
  /** Share that is an outage while the detector has yet to learn what is normal. */
  readonly outageShare: number;
}

/** What a signal needs to open, besides being improbable. */
export interface SignalRule {
  readonly signal: FindingSignal;
  /** Its channels, by number: from `first`, `count` of them. */
  readonly first: number;
  readonly count: number;
  /** Least baseline: a cell that never stalled in an hour may stall. */
  readonly floor: number;
  /** Sessions of the cell's audience, and impaired ones, without which nothing opens. */
  readonly minWatching: number;
  readonly minImpaired: number;
  /** Least share that is worth a page, by kind number; a number above 1 is never. */
  readonly minShare: readonly number[];
  /** Precision of the beta distribution, by kind number: see `bound.ts`. */
  readonly precision: readonly number[];
  /** Prior weight of the parent's baseline, in sessions sampled a minute apart. */
  readonly priorWeight: number;
}

const WATCHING = 0;
const STARTS = 4;
const STUCK = 5;
const OVERDUE = 6;
const STEADY = 7;

/** All channels. The first three are rebuffering. */
export const CHANNELS: readonly Channel[] = [
  { impaired: 1, of: WATCHING, spanMs: 10_000, outageShare: 0.2 },
  { impaired: 2, of: WATCHING, spanMs: 20_000, outageShare: 0.25 },
  { impaired: 3, of: WATCHING, spanMs: 60_000, outageShare: 0.4 },
  { impaired: STUCK, of: STARTS, spanMs: 60_000, outageShare: 0.5 },
  { impaired: OVERDUE, of: STEADY, spanMs: 25_000, outageShare: 0.6 },
];
/** The channel of silent, the last. */
export const SILENT_CHANNEL = CHANNELS.length - 1;
/** Number of channels. */
export const CHANNEL_COUNT = CHANNELS.length;
/** The count of sessions that wait for a first frame: impaired, whatever the span. */
export const STUCK_COUNT = STUCK;

// Spread between cells of a kind in healthy traffic, measured by the prototype (DETECTION.md 5),
// but for titles, most of which are as small as a title in a region.
const PRECISION = byKind({ all: 2_000, region: 1_000, title: 500, cdn: 1_000, build: 1_000 });
const NEVER = 2;

/** The signals. */
export const SIGNALS: readonly SignalRule[] = [
  {
    signal: "rebuffer",
    first: 0,
    count: 3,
    floor: 0.004,
    minWatching: 5,
    minImpaired: 4,
    minShare: KINDS.map(() => 0.05),
    precision: PRECISION.map((m) => m ?? 500).with(KINDS.indexOf("title_region"), 300),
    priorWeight: 2_000,
  },
  {
    signal: "start",
    first: 3,
    count: 1,
    floor: 0.02,
    minWatching: 5,
    minImpaired: 5,
    minShare: KINDS.map(() => 0.2),
    precision: KINDS.map(() => 100),
    priorWeight: 500,
  },
  {
    // Viewers leave together for good reasons, such as the end of a programme: most players then
    // say so. So a title has to lose nearly all within the ten seconds in which a session is
    // overdue, and any cell more than said goodbye in the last one to two minutes.
    signal: "silent",
    first: 4,
    count: 1,
    floor: 0.05,
    minWatching: 20,
    minImpaired: 20,
    minShare: byKind({ title: 0.9, title_region: NEVER, region_model: NEVER })
      .map((share) => share ?? 0.6),
    precision: KINDS.map(() => 50),
    priorWeight: 2_000,
  },
];

/** The number of the signal of each channel. */
export const SIGNAL_OF_CHANNEL: readonly number[] = SIGNALS.flatMap(({ count }, number) =>
  Array.from({ length: count }, () => number)
);

/** The channel with this number. */
export function channelOf(channel: number): Channel {
  const found = CHANNELS[channel];
  if (found === undefined) throw new RangeError(`there is no channel ${channel}`);
  return found;
}

/** The rule of the signal that `channel` belongs to. */
export function ruleOf(channel: number): SignalRule {
  const rule = SIGNALS[SIGNAL_OF_CHANNEL[channel] ?? 0];
  if (rule === undefined) throw new RangeError(`there is no channel ${channel}`);
  return rule;
}

/** The rule of a signal. */
export function ruleOfSignal(signal: FindingSignal): SignalRule {
  const rule = SIGNALS.find((each) => each.signal === signal);
  if (rule === undefined) throw new RangeError(`there is no signal ${signal}`);
  return rule;
}

function byKind(values: Partial<Record<typeof KINDS[number], number>>): (number | undefined)[] {
  return KINDS.map((kind) => values[kind]);
}
