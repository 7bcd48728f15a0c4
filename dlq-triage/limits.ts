/**
 * When the quarantine needs a person: the rule that opens and resolves its alerts.
 *
 * Pure: the caller brings the measurements and the time.
 *
 * @module
 */
import type { QuarantineAlert } from "../shared/contract/alert.ts";

export type Measure = QuarantineAlert["measure"];

/** A limit with a lower threshold to resolve, so that a value on the edge does not flap. */
export interface Limit {
  readonly measure: Measure;
  /** An alert opens above this. */
  readonly opensAbove: number;
  /** An open alert resolves below this; at most `opensAbove`. */
  readonly resolvesBelow: number;
}

/** An alert that is open. */
export interface Incident {
  readonly incidentId: string;
  readonly measure: Measure;
  /** ms since the epoch. */
  readonly openedAt: number;
}

/** What a measurement does to an incident. */
export type Step = "open" | "resolve" | "keep";

/** Decides about one measure; `value` is in the limit's unit. */
export function step(limit: Limit, isOpen: boolean, value: number): Step {
  if (!isOpen && value > limit.opensAbove) return "open";
  if (isOpen && value < limit.resolvesBelow) return "resolve";
  return "keep";
}

/** The group most entries of the last minute are in. */
export interface Worst {
  readonly groupId: string;
  readonly reason: string;
  readonly path: string;
  readonly build: string;
  readonly entries: number;
}

/** The alert that tells on-call about `incident` at `at` (ms); `worst` says where to look. */
export function alertOf(
  incident: Incident,
  status: QuarantineAlert["status"],
  limit: Limit,
  value: number,
  at: number,
  worst?: Worst,
): QuarantineAlert {
  const { incidentId, measure, openedAt } = incident;
  const what = measure === "depth"
    ? `the quarantine holds ${value} entries`
    : `the quarantine grew by ${value} entries in a minute`;
  const bound = status === "open"
    ? `above the limit of ${limit.opensAbove}`
    : `below ${limit.resolvesBelow} again`;
  const look = status === "open" && worst
    ? `; mostly ${worst.reason} at ${worst.path} from build ${worst.build}: ` +
      `deno task triage show ${worst.groupId}`
    : "";
  return {
    v: 1,
    kind: "quarantine",
    incident_id: incidentId,
    status,
    // Growth is a rollout going wrong now; depth is a backlog for working hours.
    severity: measure === "growth_per_minute" ? "page" : "ticket",
    opened_at: openedAt,
    at,
    summary: `${what}, ${bound}${look}`,
    reason: "all",
    measure,
    value,
    limit: limit.opensAbove,
  };
}
