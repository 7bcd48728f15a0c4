/**
 * The rule that opens and resolves alerts about the quarantine.
 *
 * Pure: the caller passes the measurements and the time.
 *
 * @module
 */
import type { QuarantineAlert } from "../shared/contract/alert.ts";

/** A quantity with a limit: entries in the depth window, or entries per minute. */
export type Measure = QuarantineAlert["measure"];

/** A limit with a lower threshold to resolve (hysteresis), so that its alert does not flap. */
export interface Limit {
  readonly measure: Measure;
  /** An alert opens above this value. */
  readonly opensAbove: number;
  /** An open alert resolves below this value; at most `opensAbove`. */
  readonly resolvesBelow: number;
}

/** An alert that is open. */
export interface Incident {
  readonly incidentId: string;
  readonly measure: Measure;
  /** ms since the epoch. */
  readonly openedAtMs: number;
}

/** The effect of a measurement on an incident. */
export type LimitAction = "open" | "resolve" | "keep";

/** The effect of `value`, in the unit of the limit, on an incident that is open or not. */
export function actionOn(limit: Limit, isOpen: boolean, value: number): LimitAction {
  if (!isOpen && value > limit.opensAbove) return "open";
  if (isOpen && value < limit.resolvesBelow) return "resolve";
  return "keep";
}

/** The group with the most entries of the last minute. */
export interface LargestGroup {
  readonly groupId: string;
  readonly reason: string;
  readonly path: string;
  readonly build: string;
  /** Entries of the last minute. */
  readonly entries: number;
}

/**
 * The alert about `incident` at `at` (ms since the epoch); it names `largest` as the likely cause.
 */
export function alertOf(
  incident: Incident,
  status: QuarantineAlert["status"],
  limit: Limit,
  value: number,
  at: number,
  largest?: LargestGroup,
): QuarantineAlert {
  const { incidentId, measure, openedAtMs } = incident;
  const what = measure === "depth"
    ? `the quarantine holds ${value} entries`
    : `the quarantine grew by ${value} entries in a minute`;
  const bound = status === "open"
    ? `above the limit of ${limit.opensAbove}`
    : `below ${limit.resolvesBelow} again`;
  const cause = status === "open" && largest
    ? `; mostly ${largest.reason} at ${largest.path} from build ${largest.build}: ` +
      `deno task triage show ${largest.groupId}`
    : "";
  return {
    v: 1,
    kind: "quarantine",
    incident_id: incidentId,
    status,
    // Growth indicates a bad rollout in progress; depth is a backlog for working hours.
    severity: measure === "growth_per_minute" ? "page" : "ticket",
    opened_at: openedAtMs,
    at,
    summary: `${what}, ${bound}${cause}`,
    reason: "all",
    measure,
    value,
    limit: limit.opensAbove,
  };
}
