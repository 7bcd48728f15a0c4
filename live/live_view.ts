/**
 * Makes the view of live that it publishes on `view.live`.
 *
 * Pure. Times are ms since the epoch.
 *
 * @module
 */
import {
  type LiveView,
  MAX_VIEWED,
  type ViewedIncident,
} from "../shared/contract/view/live_view.ts";
import type { Decider } from "./incidents/decider.ts";
import { naturalOf } from "./incidents/incident.ts";
import type { Incidents, OpenCell } from "./incidents/incidents.ts";

/** What a view is made from. */
export interface ViewParts {
  readonly decider: Pick<Decider, "detector">;
  readonly incidents: Pick<Incidents, "openCells">;
  readonly instance: string;
  /** The time of day, ms since the epoch. */
  readonly nowMs: number;
  /** Share of the heartbeats that the figures are made from, 0 to 1. */
  readonly coverage: number;
  /** How far behind each stream is read, in ms of receipt time; undefined: not known. */
  readonly lags: readonly (readonly [stream: string, lagMs: number | undefined])[];
}

/** The view at `nowMs`; the {@link MAX_VIEWED} incidents with the most impaired viewers. */
export function liveView(parts: ViewParts): LiveView {
  const { decider, incidents, instance, nowMs, coverage, lags } = parts;
  const streams = lags.map(([stream, lagMs]) => ({ stream, lag_ms: lagOf(lagMs) }));
  const known = streams.map(({ lag_ms }) => lag_ms).filter((each) => each !== null);
  const viewed = incidents.openCells.map((open) => viewedOf(open, decider));
  return {
    v: 1,
    at: naturalOf(nowMs),
    instance,
    coverage: within(coverage),
    // One stream of which nothing is known may be the one that is furthest behind.
    lag_ms: known.length < streams.length || known.length === 0 ? null : Math.max(...known),
    streams,
    incidents: viewed.sort((a, b) => b.impaired - a.impaired).slice(0, MAX_VIEWED),
  };
}

function viewedOf(open: OpenCell, { detector }: ViewParts["decider"]): ViewedIncident {
  const { watching, impaired, share, baseline, bound } =
    detector.current(open.signal, open.cell, false) ?? open.now;
  return {
    incident_id: open.id,
    subject: open.subject,
    watching: naturalOf(watching),
    impaired: naturalOf(impaired),
    share: within(share),
    baseline: within(baseline),
    bound: Number.isFinite(bound) ? Math.max(0, bound) : 0,
  };
}

function lagOf(lagMs: number | undefined): number | null {
  return lagMs === undefined || !Number.isFinite(lagMs) ? null : Math.max(0, Math.round(lagMs));
}

function within(value: number): number {
  return Number.isNaN(value) ? 0 : Math.min(1, Math.max(0, value));
}
