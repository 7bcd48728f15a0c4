/**
 * How bad an incident is, from how many viewers are impaired, what share they are, and for how long.
 *
 * | severity | when | page |
 * |---|---|---|
 * | critical | at least 4 viewers and 20 % of the audience above what is usual; or 50 viewers and 10 %; or 500 viewers and 2 %; or a warning of 50 viewers that lasts 15 min | at once |
 * | warning | it lasts 20 s, or an audience has vanished | once it is one |
 * | info | younger than 20 s and not critical: perhaps a blip | none |
 *
 * What an incident has reached it keeps: an improvement is an update, not another severity.
 *
 * Pure.
 *
 * @module
 */
import type { Severity } from "../../shared/contract/alert.ts";
import type { FindingSignal, Measurement } from "../detect/finding.ts";

/** Age in ms from which an incident that is not critical pages. */
export const HOLD_MS = 20_000;
/** Age in ms from which a warning of {@link LASTING_VIEWERS} is critical. */
const LASTING_MS = 900_000;
const LASTING_VIEWERS = 50;
/** Least impaired viewers and least share above the baseline of a critical incident. */
const CRITICAL: readonly { readonly impaired: number; readonly share: number }[] = [
  { impaired: 4, share: 0.2 },
  { impaired: 50, share: 0.1 },
  { impaired: 500, share: 0.02 },
];
const ORDER: readonly Severity[] = ["info", "warning", "critical"];

/** The severity of what is measured `lastedMs` after the onset. */
export function severityOf(
  signal: FindingSignal,
  { impaired, share, baseline }: Pick<Measurement, "impaired" | "share" | "baseline">,
  lastedMs: number,
): Severity {
  const excess = share - baseline;
  if (CRITICAL.some((least) => impaired >= least.impaired && excess >= least.share)) {
    return "critical";
  }
  if (lastedMs >= LASTING_MS && impaired >= LASTING_VIEWERS) return "critical";
  return lastedMs >= HOLD_MS || signal === "silent" ? "warning" : "info";
}

/** The worse of two. */
export function worse(one: Severity, other: Severity): Severity {
  return ORDER.indexOf(one) >= ORDER.indexOf(other) ? one : other;
}
