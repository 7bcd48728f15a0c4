/**
 * Makes alerts from findings and tracks which incidents are open.
 *
 * Each incident is opened once, updated, and resolved or closed once. Messages of one subject keep
 * their order, so the last message of a subject is the state of its incident; a new process recovers
 * from it. At most one message of an incident pages: the first of severity warning or critical that
 * no silence suppresses. In any minute at most `pagesPerMinute` messages page; what opens beyond
 * that has no page and, when it is new, no subject of its own: it folds into one incident on
 * `alerts.rebuffer._._`, which pages.
 *
 * Pure: the caller passes the time. Times are ms since the epoch.
 *
 * @module
 */
import type { IncidentAlert, PipelineAlert } from "../../shared/contract/alert.ts";
import { alertSubject } from "../../shared/contract/topology.ts";
import type { Finding, FindingSignal, Measurement } from "../detect/finding.ts";
import type { CellName } from "../watch/cells.ts";
import { alertCell, incidentId, LiveIncident, type Moment, naturalOf } from "./incident.ts";
import { ManyIncidents } from "./many.ts";
import { MinuteBudget } from "./page_budget.ts";
import { type Silence, suppressionOf } from "./silence.ts";

/** Last token of `alerts.pipeline.no-data`: no heartbeat arrives. */
export const NO_DATA = "no-data";
/** Last token of `alerts.pipeline.live-lag`: live is behind, or skips heartbeats. */
export const LIVE_LAG = "live-lag";
/** The alerts of the pipeline that live publishes. */
export const LIVE_PIPELINE_ALERTS = [NO_DATA, LIVE_LAG] as const;
type PipelineWhat = typeof LIVE_PIPELINE_ALERTS[number];
/** Least time between two updates of an incident that neither page nor raise its severity, in ms. */
const UPDATE_EVERY_MS = 10_000;
/** New incidents a minute that have a subject of their own, for each that may page. */
const OPENS_PER_PAGE = 10;

/** An alert that live publishes. */
export type LiveAlert = IncidentAlert | PipelineAlert;
/** The open alerts of an earlier process: the newest by subject. */
export type OpenAlerts = Map<string, LiveAlert>;

/** Options of {@link Incidents}. */
export interface PagingOptions {
  /** Maximum pages in any minute, at least 1. */
  readonly pagesPerMinute: number;
  /** Time without any heartbeat after which no-data opens, for its text. */
  readonly silenceMs: number;
}

/** The cell of an open incident, as the detector needs it to go on after a restart. */
export interface OpenCell {
  readonly id: string;
  readonly subject: string;
  readonly signal: FindingSignal;
  readonly cell: CellName;
  readonly openedMs: number;
  readonly onsetMs: number;
  readonly now: Measurement;
  readonly peak: Measurement;
}

/** Makes alerts from findings and tracks which incidents are open. */
export class Incidents {
  /** Those with a subject of their own. */
  readonly #open = new Map<string, LiveIncident>();
  readonly #many = new ManyIncidents();
  readonly #pages: MinuteBudget;
  readonly #opens: MinuteBudget;
  readonly #pipeline = new Map<PipelineWhat, PipelineAlert>();
  #silences: readonly Silence[] = [];
  #lastIdMs: number;

  /**
   * @param open What an earlier process has left open.
   * @param lastIdMs The highest time in an id that was told, also of incidents that have ended: who
   *   takes over may decide again about a second in which one of them opened.
   */
  constructor(readonly options: PagingOptions, open: OpenAlerts = new Map(), lastIdMs = 0) {
    this.#lastIdMs = lastIdMs;
    this.#pages = new MinuteBudget(options.pagesPerMinute);
    this.#opens = new MinuteBudget(options.pagesPerMinute * OPENS_PER_PAGE);
    const pagedMs: number[] = [];
    for (const [subject, alert] of open) {
      if (alert.kind === "pipeline") {
        const what = LIVE_PIPELINE_ALERTS.find((each) => subject === alertSubject.pipeline(each));
        if (what !== undefined) this.#pipeline.set(what, alert);
        continue;
      }
      const incident = LiveIncident.recovered(alert);
      this.#open.set(subject, incident);
      if (incident.pagedAtMs !== undefined) pagedMs.push(incident.pagedAtMs);
      if (alert.withheld !== undefined) this.#many.recover(incident, alert.withheld);
    }
    for (const atMs of pagedMs.sort((a, b) => a - b).slice(-options.pagesPerMinute)) {
      this.#pages.restore(atMs);
    }
  }

  /** The silences and maintenance windows; they apply from the next message on. */
  set silences(silences: readonly Silence[]) {
    this.#silences = silences;
    for (const incident of this.#open.values()) incident.quietUntilMs = 0;
  }

  /** Incidents with a subject of their own that are open. */
  get openCount(): number {
    return this.#open.size;
  }

  /** Open incidents that have no page and no subject of their own. */
  get withheldCount(): number {
    return this.#many.size;
  }

  /** Whether the incident about missing heartbeats is open. */
  get isSilent(): boolean {
    return this.#pipeline.has(NO_DATA);
  }

  /** Whether the incident about the lag of live is open. */
  get isLagging(): boolean {
    return this.#pipeline.has(LIVE_LAG);
  }

  /** The open incidents that findings keep open, for the detector after a restart. */
  get openCells(): OpenCell[] {
    return [...this.#open.values()].filter((incident) => !this.#many.isAlone(incident)).map(
      ({ subject, identity: { id, signal, cell, openedAtMs, onsetMs }, facts: { now, peak } }) => {
        return { id, subject, signal, cell, openedMs: openedAtMs, onsetMs, now, peak };
      },
    );
  }

  /** The alerts of `findings` in their order, and of what time has brought; call it every second. */
  decide(findings: readonly Finding[], moment: Moment): IncidentAlert[] {
    this.#many.begin(moment.nowMs);
    const alerts = findings.flatMap((finding) => this.#take(finding, moment));
    for (const incident of [...this.#open.values()]) alerts.push(...this.#age(incident, moment));
    alerts.push(...this.#settleMany(moment));
    return alerts;
  }

  /** The alert of an absence of all heartbeats that began or ended at `nowMs`. */
  noData(change: "opened" | "resolved", nowMs: number): PipelineAlert {
    const limit = this.options.silenceMs;
    const summary = change === "opened"
      ? `No heartbeat has arrived for ${limit / 1000} s: nothing can be detected`
      : "Heartbeats arrive again";
    return this.#ofPipeline(NO_DATA, change, nowMs, { summary, limit });
  }

  /** The alert of a lag of live that began or ended at `nowMs`. */
  lag(
    change: "opened" | "resolved",
    nowMs: number,
    figures: Pick<PipelineAlert, "summary" | "value" | "limit">,
  ): PipelineAlert {
    return this.#ofPipeline(LIVE_LAG, change, nowMs, figures);
  }

  #ofPipeline(
    what: PipelineWhat,
    change: "opened" | "resolved",
    nowMs: number,
    figures: Pick<PipelineAlert, "summary" | "value" | "limit">,
  ): PipelineAlert {
    const opened = change === "opened";
    const suppressedBy = suppressionOf(this.#silences, alertSubject.pipeline(what), nowMs);
    const open = this.#pipeline.get(what);
    const alert: PipelineAlert = {
      v: 1,
      kind: "pipeline",
      what,
      incident_id: open?.incident_id ?? `${what}.${nowMs}`,
      status: opened ? "open" : "resolved",
      severity: "page",
      opened_at: open?.opened_at ?? nowMs,
      at: nowMs,
      ...figures,
      ...(suppressedBy === undefined ? {} : { suppressed_by: suppressedBy }),
    };
    if (opened) this.#pipeline.set(what, alert);
    else this.#pipeline.delete(what);
    return alert;
  }

  #take(finding: Finding, moment: Moment): IncidentAlert[] {
    const subject = alertSubject.incident(finding.signal, alertCell(finding.cell));
    const known = this.#open.get(subject);
    const ends = finding.change === "resolve" || finding.change === "close";
    if (known !== undefined) {
      if (ends) return this.#end(known, finding, moment);
      this.#update(known, finding);
      return [];
    }
    if (this.#many.has(subject)) {
      if (ends) this.#many.remove(subject, outcomeOf(finding));
      else this.#many.update(subject, finding);
      return [];
    }
    // An update of something unknown is not dropped: its open may have been lost.
    return ends ? [] : this.#openIncident(subject, finding, moment);
  }

  #openIncident(subject: string, finding: Finding, moment: Moment): IncidentAlert[] {
    const { nowMs } = moment;
    const incident = this.#created(subject, finding, nowMs);
    incident.age(nowMs);
    const suppressedBy = this.#suppression(incident, nowMs);
    const isFree = suppressedBy !== undefined || subject === this.#many.subject;
    // What was withheld before a restart must not page after it.
    const withhold = !isFree && (this.#many.isSettling(nowMs) || !this.#opens.take(nowMs));
    const wantsPage = suppressedBy === undefined && incident.severity !== "info";
    const page = !withhold && wantsPage && this.#takePage(incident, nowMs);
    if (withhold || (wantsPage && !page && !isFree)) {
      this.#many.add(subject, { ...finding, cell: incident.identity.cell });
      return [];
    }
    this.#open.set(subject, incident);
    return [incident.message({ status: "open", page, suppressedBy }, moment)];
  }

  #created(subject: string, finding: Finding, nowMs: number): LiveIncident {
    this.#lastIdMs = Math.max(nowMs, this.#lastIdMs + 1);
    return new LiveIncident({
      id: incidentId(subject, this.#lastIdMs),
      signal: finding.signal,
      cell: alertCell(finding.cell),
      openedAtMs: nowMs,
      onsetMs: Math.min(naturalOf(finding.onsetMs), nowMs),
    }, finding);
  }

  // Publishes nothing: what is due now or later, `#age` publishes.
  #update(incident: LiveIncident, finding: Finding): void {
    const joined = this.#many.isAlone(incident);
    if (joined) this.#many.alone = false;
    incident.facts = finding;
    if (finding.why === "dimension") finding.worst.forEach(({ cell }) => incident.join(cell));
    this.#many.update(incident.subject, finding);
    const why = joined ? "dimension" : updateReason(finding.why);
    if (why !== undefined) incident.pendingWhy = why;
  }

  #end(incident: LiveIncident, finding: Finding, moment: Moment): IncidentAlert[] {
    // What keeps the incident of many open is not this finding.
    if (this.#many.isAlone(incident)) return [];
    incident.facts = finding;
    if (this.#many.holds(incident)) {
      this.#many.alone = true;
      return [];
    }
    return [this.#ended(incident, outcomeOf(finding), moment)];
  }

  #ended(
    incident: LiveIncident,
    outcome: NonNullable<IncidentAlert["outcome"]>,
    moment: Moment,
  ): IncidentAlert {
    const withheld = this.#many.report(incident);
    this.#open.delete(incident.subject);
    this.#many.remove(incident.subject, outcome);
    return incident.message({
      status: outcome === "recovered" ? "resolved" : "closed",
      page: false,
      suppressedBy: this.#suppression(incident, moment.nowMs),
      outcome,
      withheld,
    }, moment);
  }

  /** Publishes what is due: a page, a severity that rose, or an update that had to wait. */
  #age(incident: LiveIncident, moment: Moment): IncidentAlert[] {
    const { nowMs } = moment;
    if (!this.#many.isAlone(incident)) incident.refresh(moment, false);
    const rose = incident.age(nowMs);
    if (this.#isPageDue(incident, nowMs)) {
      if (this.#takePage(incident, nowMs)) {
        return [this.#updated(incident, incident.pendingWhy ?? "severity", true, moment)];
      }
      // Its page is that of the many; that of the many itself waits for its turn.
      if (incident.subject !== this.#many.subject) {
        incident.pagedAtMs = nowMs;
        this.#many.add(incident.subject, { ...incident.facts, ...incident.identity });
      }
    }
    const isDue = nowMs - incident.publishedAtMs >= UPDATE_EVERY_MS;
    const why = rose ? "severity" : isDue ? incident.pendingWhy : undefined;
    return why === undefined ? [] : [this.#updated(incident, why, false, moment)];
  }

  #updated(
    incident: LiveIncident,
    why: IncidentAlert["why"],
    page: boolean,
    moment: Moment,
  ): IncidentAlert {
    const suppressedBy = this.#suppression(incident, moment.nowMs);
    const withheld = this.#many.report(incident);
    // A page is read with care, and there are few.
    if (page && !this.#many.isAlone(incident)) incident.refresh(moment, true);
    return incident.message({ status: "update", page, suppressedBy, why, withheld }, moment);
  }

  #isPageDue(incident: LiveIncident, nowMs: number): boolean {
    if (incident.pagedAtMs !== undefined || incident.severity === "info") return false;
    if (nowMs < incident.quietUntilMs) return false;
    const suppressedBy = this.#suppression(incident, nowMs);
    if (suppressedBy !== undefined) incident.quietUntilMs = suppressedBy.until;
    return suppressedBy === undefined;
  }

  // The last page of a minute is kept for the incident of many.
  #takePage({ subject }: LiveIncident, nowMs: number): boolean {
    return this.#pages.take(nowMs, subject === this.#many.subject ? 0 : 1);
  }

  #suppression(incident: LiveIncident, nowMs: number) {
    return incident.suppression(this.#silences, nowMs);
  }

  /** Opens, updates or ends the incident of many. */
  #settleMany(moment: Moment): IncidentAlert[] {
    const many = this.#many;
    const { nowMs } = moment;
    const incident = this.#open.get(many.subject);
    if (many.size === 0) {
      if (!incident || !many.isAlone(incident) || many.isSettling(nowMs)) return [];
      return [this.#ended(incident, many.lastOutcome, moment)];
    }
    if (incident === undefined) return [this.#openMany(moment)];
    if (!many.holds(incident)) many.join(incident);
    if (many.alone) incident.facts = many.facts(incident.facts.peak);
    if (!many.hasDoubled) return [];
    incident.pendingWhy = "doubled";
    return this.#age(incident, moment);
  }

  #openMany(moment: Moment): IncidentAlert {
    const { nowMs } = moment;
    const many = this.#many;
    const finding = { ...many.facts(), signal: "rebuffer", cell: { kind: "all" } } as const;
    const incident = this.#created(many.subject, {
      ...finding,
      change: "open",
      atMs: nowMs,
      onsetMs: many.onsetMs,
    }, nowMs);
    incident.severity = "critical";
    this.#open.set(many.subject, incident);
    many.join(incident);
    many.alone = true;
    const suppressedBy = this.#suppression(incident, nowMs);
    const page = suppressedBy === undefined && this.#takePage(incident, nowMs);
    const withheld = many.report(incident);
    return incident.message({ status: "open", page, suppressedBy, withheld }, moment);
  }
}

function outcomeOf({ change, why }: Finding): NonNullable<IncidentAlert["outcome"]> {
  if (why === "recovered" || why === "gone" || why === "chronic" || why === "folded") return why;
  return change === "resolve" ? "recovered" : "gone";
}

function updateReason(why: Finding["why"]): IncidentAlert["why"] {
  return why === "doubled" || why === "halved" || why === "dimension" || why === "folded"
    ? why
    : undefined;
}

/** The subject that `alert` is published on. */
export function subjectOf(alert: LiveAlert): string {
  return alert.kind === "incident"
    ? alertSubject.incident(alert.signal, alert.cell)
    : alertSubject.pipeline(alert.what);
}

/** The message id of `alert`, unique to it. */
export function messageIdOf(alert: LiveAlert): string {
  return `${alert.incident_id}.${alert.kind === "incident" ? alert.update : alert.status}`;
}
