/**
 * Pages of a run of chaos that wake somebody for nothing: of incidents in what the seeded truth says
 * is healthy.
 *
 * The only thing that ails the viewers of a run is a CDN that fails in a region: it stalls them. An
 * outage of the pipeline does not, however it looks from behind it, so nobody has fallen silent and
 * every player that started has started.
 *
 * Pure. Times are ms since the epoch.
 *
 * @module
 */
import type { AlertCell, IncidentAlert } from "../../contract/alert.ts";
import { check, type CheckLine } from "../../dev/demo/check_line.ts";
import type { ChaosIncident } from "./schedule.ts";

/** A page of an incident: what it says. */
export type IncidentSaid = Pick<IncidentAlert, "signal" | "cell" | "opened_at" | "summary">;

/** A stall is evidence for as long as the longest span of live, ms. */
const EVIDENCE_MS = 60_000;

/** A line that fails, and says what was said, if one of `pages` is about what is healthy. */
export function falsePagesLine(
  pages: readonly IncidentSaid[],
  incidents: readonly ChaosIncident[],
  startMs: number,
): CheckLine {
  const wrong = pages.filter((page) => !incidents.some((each) => isTrue(page, each, startMs)));
  const said = wrong.map(({ summary, opened_at }) =>
    `at ${((opened_at - startMs) / 1_000).toFixed(1)} s: ${summary}`
  );
  const found = [String(wrong.length), ...said].join("; ");
  return check("pages about viewers that are healthy", "0", found, wrong.length === 0);
}

function isTrue(
  { signal, cell, opened_at }: IncidentSaid,
  incident: ChaosIncident,
  startMs: number,
): boolean {
  const sinceMs = opened_at - startMs;
  return signal === "rebuffer" && isAbout(cell, incident) && sinceMs >= incident.beginMs &&
    sinceMs <= incident.endMs + EVIDENCE_MS;
}

/** Whether the viewers of a cell may be those of an incident. */
export function isAbout({ cdn, region }: AlertCell, incident: ChaosIncident): boolean {
  return (cdn === undefined || cdn === incident.cdn) &&
    (region === undefined || region === incident.region);
}
