/**
 * What is open, from the messages of ALERTS in their order, and the series of each incident.
 *
 * Pure. Times are ms since the epoch.
 *
 * @module
 */
import { type Alert, byUrgency, isOpen } from "../../../shared/contract/alert.ts";
import {
  LIVE_VIEW_MS,
  type LiveView,
  type ViewedIncident,
} from "../../../shared/contract/view/live_view.ts";

/** Maximum open incidents that are remembered. */
const MAX_OPEN = 10_000;
/** Length of a series, in ms. */
export const SERIES_MS = 900_000;
/** Maximum points of a series. */
const MAX_POINTS = SERIES_MS / LIVE_VIEW_MS;
/** Maximum series. */
const MAX_SERIES = 1_000;
/** ALERTS keeps a message for seven days; what was not heard of for longer may have ended. */
const MAX_QUIET_MS = 8 * 86_400_000;

/** Time, share and baseline. */
export type SeriesPoint = [atMs: number, share: number, baseline: number];

/** An open incident and its subject. */
export interface OpenAlert {
  readonly subject: string;
  readonly alert: Alert;
}

/** See the module. */
export class OpenIncidents {
  readonly #open = new Map<string, OpenAlert>();
  readonly #series = new Map<string, SeriesPoint[]>();
  /** Open incidents that did not fit. */
  overflow = 0;

  /** Forgets everything: ALERTS was made anew. */
  clear(): void {
    this.#open.clear();
    this.overflow = 0;
  }

  /** Takes the next message of ALERTS. */
  take(subject: string, alert: Alert): void {
    if (!isOpen(alert)) {
      this.#open.delete(subject);
      return;
    }
    if (!this.#open.has(subject) && this.#open.size >= MAX_OPEN) {
      this.overflow += 1;
      return;
    }
    this.#open.set(subject, { subject, alert });
    if (alert.kind === "incident") {
      this.#add(alert.incident_id, [alert.at, alert.share, alert.baseline]);
    }
  }

  /** Takes what live sees, heard at `nowMs` by the clock of this process. */
  view({ incidents }: LiveView, nowMs: number): void {
    for (const { incident_id, share, baseline } of incidents) {
      this.#add(incident_id, [nowMs, share, baseline]);
    }
  }

  /** Forgets what is too old to be open, and series without an incident. */
  prune(nowMs: number): void {
    for (const [subject, { alert }] of this.#open) {
      if (nowMs - alert.at > MAX_QUIET_MS) this.#open.delete(subject);
    }
    const ids = new Set([...this.#open.values()].map(({ alert }) => alert.incident_id));
    for (const id of this.#series.keys()) {
      if (!ids.has(id)) this.#series.delete(id);
    }
  }

  /** What is open, the most urgent first. */
  all(): OpenAlert[] {
    return [...this.#open.values()].sort((a, b) => byUrgency(a.alert, b.alert));
  }

  /** The last 15 minutes of an incident, oldest first. */
  series(incidentId: string, nowMs: number): SeriesPoint[] {
    const points = this.#series.get(incidentId) ?? [];
    return points.filter(([atMs]) => nowMs - atMs <= SERIES_MS);
  }

  #add(incidentId: string, point: SeriesPoint): void {
    const points = this.#series.get(incidentId) ?? [];
    if (points.length === 0) {
      if (this.#series.size >= MAX_SERIES) return;
      this.#series.set(incidentId, points);
    }
    const last = points.at(-1);
    // What comes from two clocks may be out of order by a little.
    if (last !== undefined && point[0] <= last[0]) return;
    points.push([point[0], rounded(point[1]), rounded(point[2])]);
    if (points.length > MAX_POINTS) points.shift();
  }
}

/** The incidents of a view by id. */
export function viewedById(view: LiveView | undefined): ReadonlyMap<string, ViewedIncident> {
  return new Map((view?.incidents ?? []).map((each) => [each.incident_id, each]));
}

function rounded(share: number): number {
  return Math.round(share * 100_000) / 100_000;
}
