/**
 * Makes the answers of the read API from what the pager knows.
 *
 * Pure. Times are ms since the epoch, ages ms.
 *
 * @module
 */
import { type Alert, type IncidentAlert, pagesOncall } from "../../../shared/contract/alert.ts";
import type { ServiceState } from "../../../shared/contract/pulse_watch.ts";
import type { LiveView, ViewedIncident } from "../../../shared/contract/view/live_view.ts";
import type { IncidentRecord } from "../incident_record.ts";
import {
  type BoardIncident,
  type IncidentList,
  MAX_LISTED,
  type PipelineState,
} from "./board_schema.ts";
import { type OpenIncidents, type SeriesPoint, viewedById } from "./open_incidents.ts";

/** A view of live older than this says nothing about now, in ms. */
const MAX_VIEW_AGE_MS = 6_000;
/** Maximum points of all series in an answer. */
const MAX_POINTS_TOGETHER = 20_000;
/** A pager that has not read ALERTS for so long does not hear pulses either, in ms. */
const MAX_READ_AGE_MS = 5_000;
const MAX_INSTANCES = 32;

/** What live said last, and how long ago. */
export interface HeardView {
  readonly view: LiveView;
  readonly ageMs: number;
}

/** What is known of the delivery of pages. */
export interface KnownDeliveries {
  /** Names of the receivers. */
  readonly receivers: readonly string[];
  readonly records: readonly IncidentRecord[];
}

/** What {@link incidentList} is made from. */
export interface ListParts {
  readonly nowMs: number;
  /** Since ALERTS was last read; undefined: never. */
  readonly readAgeMs: number | undefined;
  readonly incidents: OpenIncidents;
  readonly heard: HeardView | undefined;
  /** Undefined unless this pager delivers. */
  readonly deliveries: KnownDeliveries | undefined;
}

/** The response to `GET /v1/incidents`. */
export function incidentList(parts: ListParts): IncidentList {
  const { nowMs, readAgeMs, incidents, heard, deliveries } = parts;
  const all = incidents.all();
  const listed = all.slice(0, MAX_LISTED);
  const isCurrent = heard !== undefined && heard.ageMs <= MAX_VIEW_AGE_MS;
  const viewed = viewedById(isCurrent ? heard.view : undefined);
  const series = listed.map(({ alert }) => incidents.series(alert.incident_id, nowMs));
  const together = series.reduce((sum, { length }) => sum + length, 0);
  const every = Math.max(1, Math.ceil(together / MAX_POINTS_TOGETHER));
  const records = deliveries &&
    new Map(deliveries.records.map((record) => [record.incident_id, record]));
  return {
    v: 1,
    at: Math.round(nowMs),
    read_age_ms: readAgeMs === undefined ? null : Math.round(readAgeMs),
    open: all.length + incidents.overflow,
    incidents: listed.map(({ subject, alert }, i) => ({
      ...identityOf(subject, alert),
      ...aboutViewers(alert, viewed.get(alert.incident_id), heard?.view),
      series: thinned(series[i] ?? [], every),
      deliveries: records && deliveries
        ? deliveriesOf(records.get(alert.incident_id), deliveries.receivers)
        : null,
    })),
  };
}

function identityOf(subject: string, alert: Alert) {
  const { incident_id, kind, severity, opened_at, at, summary, suppressed_by } = alert;
  const incident = alert.kind === "incident" ? alert : undefined;
  const paged_at = incident?.paged_at;
  const why = incident?.why;
  return {
    incident_id,
    subject,
    kind,
    severity,
    pages: pagesOncall(alert),
    ...(paged_at === undefined ? {} : { paged_at }),
    opened_at,
    summary,
    ...(suppressed_by === undefined ? {} : { suppressed_by }),
    last: {
      at,
      status: alert.status === "update" ? "update" : "open",
      ...(why === undefined ? {} : { why }),
    },
  } as const;
}

function aboutViewers(
  alert: Alert,
  viewed: ViewedIncident | undefined,
  view: LiveView | undefined,
): Pick<BoardIncident, "figures" | "dimensions" | "next"> {
  if (alert.kind !== "incident") return { dimensions: [], next: [] };
  const { signal, cell, ratio, onset_at, detected_ms, folded, dimensions, next } = alert;
  const now = viewed ?? alert;
  return {
    figures: {
      signal,
      cell,
      ratio,
      ...viewersOf(now),
      bound: now.bound,
      at: viewed && view ? view.at : alert.at,
      is_current: viewed !== undefined,
      peak: viewersOf(alert.peak),
      onset_at,
      detected_ms,
      folded,
      coverage: alert.coverage,
    },
    dimensions: dimensions.map((each) => ({ cell: each.cell, ...viewersOf(each) })),
    next,
  };
}

function viewersOf(
  { watching, impaired, share, baseline }: Pick<
    IncidentAlert,
    "watching" | "impaired" | "share" | "baseline"
  >,
) {
  return { watching, impaired, share, baseline };
}

// The newest point stays, whatever is left out.
function thinned(points: readonly SeriesPoint[], every: number): SeriesPoint[] {
  return points.filter((_, i) => (points.length - 1 - i) % every === 0);
}

function deliveriesOf(
  record: IncidentRecord | undefined,
  receivers: readonly string[],
): NonNullable<BoardIncident["deliveries"]> {
  if (record === undefined) return {};
  return Object.fromEntries(
    receivers.map((receiver) => [receiver, record.receivers[receiver]?.page ?? "waiting"]),
  );
}

/** What is known of the pager itself. */
export interface PagerAbout {
  readonly instance: string;
  readonly delivers: boolean;
  readonly isDelivered: boolean;
  readonly deliverer: string;
  readonly waiting: readonly (readonly [receiver: string, messages: number])[];
}

/** What {@link pipelineState} is made from. */
export interface StateParts {
  readonly nowMs: number;
  readonly readAgeMs: number | undefined;
  readonly problem: string | undefined;
  readonly pager: PagerAbout | undefined;
  readonly heard: HeardView | undefined;
  readonly services: readonly ServiceState[];
}

/** The response to `GET /v1/state`. */
export function pipelineState(parts: StateParts): PipelineState {
  const { nowMs, readAgeMs, problem, pager, heard, services } = parts;
  const isCutOff = readAgeMs === undefined || readAgeMs > MAX_READ_AGE_MS;
  return {
    v: 1,
    at: Math.round(nowMs),
    read_age_ms: readAgeMs === undefined ? null : Math.round(readAgeMs),
    ...(problem === undefined ? {} : { problem }),
    pager: pager === undefined ? null : aboutPager(pager),
    live: heard === undefined ? null : {
      instance: heard.view.instance,
      view_age_ms: Math.round(heard.ageMs),
      coverage: heard.view.coverage,
      lag_ms: heard.view.lag_ms,
      streams: heard.view.streams,
    },
    // Who is cut off from NATS hears nobody.
    services: services.map((each) => aboutService(each, !isCutOff)),
  };
}

function aboutPager(pager: PagerAbout): NonNullable<PipelineState["pager"]> {
  return {
    instance: pager.instance,
    delivers: pager.delivers,
    is_delivered: pager.isDelivered,
    deliverer: pager.deliverer,
    receivers: pager.waiting.map(([receiver, messages]) => ({
      receiver,
      waiting: pager.delivers ? messages : null,
    })),
  };
}

function aboutService(
  state: ServiceState,
  isHearing: boolean,
): PipelineState["services"][number] {
  const { service, pulseAgeMs, idleMs, instances } = state;
  if (!isHearing) {
    return { service, state: "unheard", pulse_age_ms: null, idle_ms: null, instances: [] };
  }
  return {
    service,
    state: state.state,
    pulse_age_ms: pulseAgeMs === undefined ? null : Math.round(pulseAgeMs),
    idle_ms: idleMs === undefined ? null : Math.round(idleMs),
    instances: instances.slice(0, MAX_INSTANCES).map(({ pulse, ageMs }) => ({
      instance: pulse.instance,
      pulse_age_ms: Math.round(ageMs),
      progress: pulse.progress,
      waiting: pulse.waiting,
      ...(pulse.not_ready === undefined ? {} : { not_ready: pulse.not_ready }),
    })),
  };
}
