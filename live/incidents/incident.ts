/**
 * One incident: what is known of it, and its messages from the open to the end.
 *
 * Pure: the caller passes the time. Times are ms since the epoch.
 *
 * @module
 */
import type {
  AlertCell,
  IncidentAlert,
  Severity,
  Suppression,
} from "../../shared/contract/alert.ts";
import { fnv1aText } from "../../shared/contract/hash.ts";
import { alertSubject } from "../../shared/contract/topology.ts";
import {
  type Finding,
  type FindingSignal,
  isFairShare,
  isWorse,
  type MeasuredCell,
  type Measurement,
} from "../detect/finding.ts";
import type { CellName } from "../watch/cells.ts";
import { severityOf, worse } from "./severity.ts";
import { type Silence, suppressionOf } from "./silence.ts";
import { boundedName, cellPhrase, nextCommands, percent, sentence } from "./wording.ts";

/** What the numbers of an alert mean; part of every one. */
export const DEFINITION = {
  ratio:
    "sum(rebuffer_ms) / sum(played_ms + rebuffer_ms) of the last 60 s of receipt, start-up excluded",
  impaired:
    "viewer sessions that stalled for at least 1 s and 10 % of span_ms, are rebuffering now, or " +
    "have waited 10 s for the first frame; silent: sessions that have stopped to report",
} as const;

/** How much earlier than its open an incident may have begun, as far as its severity goes. */
const MAX_LEAD_MS = 60_000;
/** Longest part of a subject in an id. */
const MAX_ID_NAME_CHARS = 120;
const MAX_DIMENSIONS = 10;
const MAX_JOINED = 32;
const DIMENSIONS = ["region", "title", "cdn", "isp", "build", "model"] as const;
const MAX_EVIDENCE = 300;

/** When something is decided, and what share of the heartbeats was seen. */
export interface Moment {
  readonly nowMs: number;
  /** 0 to 1; 1 unless live samples or skips. */
  readonly coverage: number;
  /** The figures of an open incident's cell now; with `summed` also stalled and played time. */
  readonly current?: (
    identity: Pick<IncidentIdentity, "signal" | "cell">,
    summed: boolean,
  ) => Measurement | undefined;
}

/** What is known of an incident at one time. */
export type Facts = Pick<
  Finding,
  "now" | "peak" | "evidence" | "worst" | "folded" | "receivedAtMs"
>;

/** What sets one message of an incident apart. */
export interface MessageParts {
  readonly status: IncidentAlert["status"];
  readonly page: boolean;
  readonly suppressedBy: Suppression | undefined;
  readonly why?: IncidentAlert["why"] | undefined;
  readonly outcome?: IncidentAlert["outcome"] | undefined;
  readonly withheld?: IncidentAlert["withheld"] | undefined;
}

/** What an incident is from its open to its end. */
export interface IncidentIdentity {
  readonly id: string;
  readonly signal: FindingSignal;
  readonly cell: AlertCell;
  readonly openedAtMs: number;
  readonly onsetMs: number;
}

/** An incident that has not ended. */
export class LiveIncident {
  readonly subject: string;
  /** The highest so far. */
  severity: Severity = "info";
  /** When on-call was paged about it, by itself or through another incident. */
  pagedAtMs: number | undefined;
  /** Number of the newest message; 0 before the open. */
  update = 0;
  publishedAtMs = 0;
  /** What the next update is about, once it is due. */
  pendingWhy: IncidentAlert["why"] | undefined;
  /** Until then a silence keeps it from paging. */
  quietUntilMs = 0;
  /** Subjects of the relatives that joined it, at most {@link MAX_JOINED}. */
  readonly #joined = new Set<string>();

  constructor(readonly identity: IncidentIdentity, public facts: Facts) {
    this.subject = alertSubject.incident(identity.signal, identity.cell);
  }

  /** The incident of an open alert of an earlier process. */
  static recovered(alert: IncidentAlert): LiveIncident {
    const incident = new LiveIncident({
      id: alert.incident_id,
      signal: alert.signal,
      cell: alert.cell,
      openedAtMs: alert.opened_at,
      onsetMs: alert.onset_at,
    }, factsOf(alert));
    incident.severity = alert.severity;
    incident.pagedAtMs = alert.paged_at;
    incident.update = alert.update;
    incident.publishedAtMs = alert.at;
    for (const { cell } of alert.dimensions) incident.join(cell);
    return incident;
  }

  /** Takes what is known now; returns whether the severity rose. */
  learn(facts: Facts, nowMs: number): boolean {
    this.facts = facts;
    return this.age(nowMs);
  }

  /**
   * Takes the figures of now, so that severity and messages do not wait for the next finding. The
   * few who are left of an audience say nothing about it; the detector finds that by itself.
   */
  refresh({ current }: Moment, summed: boolean): void {
    const now = current?.(this.identity, summed);
    const { peak, now: { rebufferMs, playedMs } } = this.facts;
    if (now === undefined || !isFairShare(now, peak)) return;
    this.facts = {
      ...this.facts,
      now: summed ? now : { ...now, rebufferMs, playedMs },
      peak: isWorse(now, peak) ? now : peak,
    };
  }

  /** Notes that a relative is part of it: if it is wider, a silence has to cover it, too. */
  join(cell: CellName): void {
    if (DIMENSIONS.every((each) => (this.identity.cell[each] ?? cell[each]) === cell[each])) return;
    const subject = alertSubject.incident(this.identity.signal, alertCell(cell));
    if (this.#joined.has(subject) || this.#joined.size >= MAX_JOINED) return;
    this.#joined.add(subject);
    this.quietUntilMs = 0;
  }

  /** The silence that covers all of it, if there is one. */
  suppression(silences: readonly Silence[], nowMs: number): Suppression | undefined {
    const found = suppressionOf(silences, this.subject, nowMs);
    if (found === undefined) return undefined;
    for (const subject of this.#joined) {
      if (suppressionOf(silences, subject, nowMs) === undefined) return undefined;
    }
    return found;
  }

  /** Lets time pass; returns whether the severity rose. */
  age(nowMs: number): boolean {
    const { signal, onsetMs, openedAtMs } = this.identity;
    const lastedMs = nowMs - Math.max(onsetMs, openedAtMs - MAX_LEAD_MS);
    const severity = worse(this.severity, severityOf(signal, this.facts.now, lastedMs));
    const rose = severity !== this.severity;
    this.severity = severity;
    return rose;
  }

  /** The next message. */
  message(parts: MessageParts, { nowMs, coverage }: Moment): IncidentAlert {
    const { id, signal, cell, openedAtMs, onsetMs } = this.identity;
    const { now, peak, evidence, worst, folded, receivedAtMs } = this.facts;
    const { status, page, suppressedBy, why, outcome, withheld } = parts;
    if (page) this.pagedAtMs = nowMs;
    this.update++;
    this.publishedAtMs = nowMs;
    this.pendingWhy = undefined;
    return {
      v: 2,
      kind: "incident",
      incident_id: id,
      update: this.update,
      status,
      severity: this.severity,
      page,
      ...(this.pagedAtMs === undefined ? {} : { paged_at: this.pagedAtMs }),
      ...(suppressedBy === undefined ? {} : { suppressed_by: suppressedBy }),
      opened_at: openedAtMs,
      at: nowMs,
      summary: sentence(summaryOf(this, parts) + coverageText(coverage)),
      signal,
      cell: { ...cell },
      ...(why === undefined ? {} : { why }),
      ...(outcome === undefined ? {} : { outcome }),
      onset_at: onsetMs,
      received_at: naturalOf(receivedAtMs),
      detected_ms: Math.max(0, openedAtMs - onsetMs),
      definition: DEFINITION,
      ratio: ratioOf(now),
      ...measuresOf(now),
      peak: measuresOf(peak),
      evidence: within(evidence, 0, MAX_EVIDENCE),
      dimensions: worst.slice(0, MAX_DIMENSIONS).map((each) => dimensionOf(each.cell, each.now)),
      folded: naturalOf(folded),
      ...(withheld === undefined ? {} : { withheld }),
      coverage: within(coverage, 0, 1),
      ...(isDegraded(coverage) ? { degraded: true } : {}),
      next: nextCommands(signal, cell, nowMs),
    };
  }
}

/** A cell as alerts name it: only known fields, each bounded. */
export function alertCell({ kind, region, title, cdn, isp, build, model }: CellName): AlertCell {
  return {
    kind,
    ...(region === undefined ? {} : { region: boundedName(region) }),
    ...(title === undefined ? {} : { title: boundedName(title) }),
    ...(cdn === undefined ? {} : { cdn: boundedName(cdn) }),
    ...(isp === undefined ? {} : { isp: boundedName(isp) }),
    ...(build === undefined ? {} : { build: boundedName(build) }),
    ...(model === undefined ? {} : { model: boundedName(model) }),
  };
}

/** The id of an incident on `subject`; unique where no other on the subject has the same `ms`. */
export function incidentId(subject: string, ms: number): string {
  const name = subject.replace(/^alerts\./, "");
  if (name.length <= MAX_ID_NAME_CHARS) return `${name}.${ms}`;
  const hash = fnv1aText(name).toString(16).padStart(8, "0");
  return `${name.slice(0, MAX_ID_NAME_CHARS)}~${hash}.${ms}`;
}

/** The `ms` of an id of {@link incidentId}; 0 for any other text. */
export function idMsOf(id: string): number {
  return Number(/\.(\d{1,15})$/.exec(id)?.[1] ?? 0);
}

/** `value` as whole ms since the epoch or a count; what is not a number is 0. */
export function naturalOf(value: number): number {
  return Number.isFinite(value) ? Math.max(0, Math.round(value)) : 0;
}

function within(value: number, least: number, most: number): number {
  return Number.isNaN(value) ? least : Math.min(most, Math.max(least, value));
}

// Defends the contract: an alert that does not follow the schema could not be recovered.
function measuresOf(measured: Measurement): IncidentAlert["peak"] {
  return {
    ...viewersOf(measured),
    span_ms: naturalOf(measured.spanMs),
    bound: Number.isFinite(measured.bound) ? Math.max(0, measured.bound) : 0,
    rebuffer_ms: naturalOf(measured.rebufferMs),
    played_ms: naturalOf(measured.playedMs),
  };
}

function viewersOf({ watching, impaired, share, baseline }: Measurement) {
  return {
    watching: naturalOf(watching),
    impaired: naturalOf(impaired),
    share: within(share, 0, 1),
    baseline: within(baseline, 0, 1),
  };
}

function dimensionOf(cell: CellName, now: Measurement): IncidentAlert["dimensions"][number] {
  return { cell: alertCell(cell), ...viewersOf(now) };
}

function ratioOf({ rebufferMs, playedMs }: Measurement): number | null {
  const allMs = naturalOf(rebufferMs) + naturalOf(playedMs);
  return allMs === 0 ? null : naturalOf(rebufferMs) / allMs;
}

function factsOf(alert: IncidentAlert): Facts {
  return {
    now: measurementOf(alert),
    peak: measurementOf(alert.peak),
    evidence: alert.evidence,
    worst: alert.dimensions.map(({ cell, ...viewers }) => ({
      cell,
      now: { ...viewers, spanMs: alert.span_ms, bound: 0, rebufferMs: 0, playedMs: 0 },
    })),
    folded: alert.folded,
    receivedAtMs: alert.received_at,
  };
}

function measurementOf(measures: IncidentAlert["peak"]): Measurement {
  const { watching, impaired, share, baseline, bound } = measures;
  return {
    watching,
    impaired,
    share,
    baseline,
    bound,
    spanMs: measures.span_ms,
    rebufferMs: measures.rebuffer_ms,
    playedMs: measures.played_ms,
  };
}

const IMPAIRED: Readonly<Record<FindingSignal, string>> = {
  rebuffer: "stall",
  start: "cannot start",
  silent: "have gone silent",
};
const ENDED: Readonly<Record<NonNullable<IncidentAlert["outcome"]>, string>> = {
  recovered: "has recovered",
  gone: "is closed without recovery: too few viewers are left to tell",
  chronic:
    "is closed without recovery: slight and unchanged for an hour, it counts as usual until it ends",
  folded: "is closed: another incident explains it",
};

/** The viewers now; an audience that left is not called healthy. */
function viewersText(signal: FindingSignal, { now, peak }: Facts): string {
  const { watching, impaired, share, baseline } = viewersOf(now);
  if (watching > 0) {
    return `${impaired} of ${watching} viewers ${IMPAIRED[signal]} ` +
      `(${percent(share)}, usual ${percent(baseline)})`;
  }
  const before = viewersOf(peak);
  return `nobody watches any more; at the peak: ${before.impaired} of ${before.watching} ` +
    `viewers ${IMPAIRED[signal]} (${percent(before.share)})`;
}

/** A cell that an incident explains, with figures: the named one may have recovered before it. */
function worstText({ cell, now }: MeasuredCell): string {
  const { watching, impaired, share } = viewersOf(now);
  return `${cellPhrase(alertCell(cell))}, ${impaired} of ${watching} (${percent(share)})`;
}

// Below it, counts are too low by more than a percent.
const FULL_COVERAGE = 0.99;

function isDegraded(coverage: number): boolean {
  return coverage < FULL_COVERAGE;
}

function coverageText(coverage: number): string {
  return isDegraded(coverage) ? `; seen are ${percent(coverage)} of the heartbeats` : "";
}

function summaryOf(
  { facts, identity: { signal, cell } }: LiveIncident,
  { outcome, withheld }: MessageParts,
): string {
  const [worst] = facts.worst;
  const viewers = viewersText(signal, facts);
  if (withheld?.alone) {
    if (outcome !== undefined) return "The many incidents without a page of their own are over";
    const where = worst === undefined ? "" : `; the largest is ${worstText(worst)}`;
    return `${withheld.incidents} more incidents than may page: ${viewers}${where}`;
  }
  const phrase = cellPhrase(cell);
  if (outcome !== undefined) return `${phrase} ${ENDED[outcome]}; ${viewers}`;
  const named = worst === undefined ? "" : `; worst: ${worstText(worst)}`;
  const more = withheld === undefined ? "" : `; ${withheld.incidents} more incidents fold into it`;
  return `${phrase}: ${viewers}${named}${more}`;
}
