/**
 * Whether a cohort must alert, for a verdict. Times are ms since the epoch, or since the start of
 * the run before it begins.
 *
 * Pure.
 *
 * @module
 */
import type { Cohort } from "../fleet/simulator.ts";

/** Whether a cohort must alert, and when. */
export interface AlertExpectation extends Cohort {
  /** `either`: the evidence is near the limit, or ambiguous. */
  readonly alert: "must" | "must_not" | "either";
  /** When the first viewer stalls, if known: an earlier alert is wrong. */
  readonly sinceMs?: number;
  /** When the evidence is sufficient; the time limit starts here, else at `sinceMs`. */
  readonly evidentMs?: number;
  /** The reason, shown in the table. */
  readonly why?: string;
}
