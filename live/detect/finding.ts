/**
 * What the detector tells the incidents: one change of one incident, with the figures behind it.
 *
 * @module
 */

import type { CellName } from "../watch/cells.ts";

/**
 * What is wrong: viewers stall (`rebuffer`), wait for the first frame for 10 s (`start`), or
 * stopped sending heartbeats together (`silent`).
 */
export type FindingSignal = "rebuffer" | "start" | "silent";

/** One cell at one time. */
export interface Measurement {
  /** Sessions; for `start` those that began in the last 60 s or still wait. */
  readonly watching: number;
  /** Of these, the impaired ones: stalled, waiting, or overdue. */
  readonly impaired: number;
  /** Time over which a session was judged. */
  readonly spanMs: number;
  /** impaired / watching, 0 to 1. */
  readonly share: number;
  /** The learned share, 0 to 1. */
  readonly baseline: number;
  /** Impaired sessions that would open an incident. */
  readonly bound: number;
  /** Stalled and played time of the sessions in the last 60 s, in ms. */
  readonly rebufferMs: number;
  readonly playedMs: number;
}

/** A cell and its figures. */
export interface MeasuredCell {
  readonly cell: CellName;
  readonly now: Measurement;
}

/** Why an incident changed. `folded`: a relative that now carries it took it over. */
export type FindingReason =
  | "recovered"
  | "gone"
  | "chronic"
  | "doubled"
  | "halved"
  | "dimension"
  | "folded";

/** One change of one incident. `resolve` is health regained; `close` is any other end. */
export interface Finding {
  readonly change: "open" | "update" | "resolve" | "close";
  readonly signal: FindingSignal;
  /** The cell that the incident was opened on: its identity together with `signal`. */
  readonly cell: CellName;
  /** Time of the decision, in ms since the epoch, as receipts are. */
  readonly atMs: number;
  /** When the first impaired session began to be, estimated; in ms since the epoch. */
  readonly onsetMs: number;
  /** Receipt of the newest heartbeat behind it. */
  readonly receivedAtMs: number;
  readonly now: Measurement;
  readonly peak: Measurement;
  /** −log10 of the probability of the figures under the baseline, at most 300. */
  readonly evidence: number;
  /**
   * At most 10 cells that it explains, those with the most excess viewers first. After
   * `why: "dimension"` the first is the relative that emerged.
   */
  readonly worst: readonly MeasuredCell[];
  readonly why?: FindingReason;
  /** Cells over their bound that this one explains. */
  readonly folded: number;
}

/**
 * Whether `now` is worse than `peak`: a larger share of at least half of its audience. The last few
 * viewers of an outage may all be impaired; that is not its peak.
 */
export function isWorse(now: Measurement, peak: Measurement): boolean {
  return now.share > peak.share && isFairShare(now, peak);
}

/** Impaired sessions beyond those that the baseline makes usual. */
export function excessOf(
  { watching, impaired, baseline }: Pick<Measurement, "watching" | "impaired" | "baseline">,
): number {
  return impaired - watching * baseline;
}

/** Whether `now` has at least half of the audience of `peak`. */
export function isFairShare(now: Measurement, peak: Measurement): boolean {
  return 2 * now.watching >= peak.watching;
}
