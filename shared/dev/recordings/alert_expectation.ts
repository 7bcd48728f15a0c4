/**
 * What a cohort's alert has to be, for a verdict. Times are ms since the epoch, or since the start of
 * the run where it has not begun.
 *
 * Pure.
 *
 * @module
 */
import type { Cohort } from "../fleet/simulator.ts";

/** What a cohort's alert has to be. */
export interface AlertExpectation extends Cohort {
  /** `either`: the evidence is too close to call, or can be read two ways. */
  readonly alert: "must" | "must_not" | "either";
  /** When the first viewer stalls, if that is known: an alert before it is wrong. */
  readonly sinceMs?: number;
  /** When the evidence is plain; the limit counts from here, else from `sinceMs`. */
  readonly evidentMs?: number;
  /** Why, for the reader of the table. */
  readonly why?: string;
}
