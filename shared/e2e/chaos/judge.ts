/**
 * What must be true after a run of chaos besides the books: which pages came, and when.
 *
 * Pure. Times are ms since the epoch.
 *
 * @module
 */
import { check, type CheckLine, equal } from "../../dev/demo/check_line.ts";
import { falsePagesLine, type IncidentSaid, isAbout } from "./false_pages.ts";
import { type ChaosFault, type ChaosIncident, type FaultKind, isOutage } from "./schedule.ts";

/** A fault as it was. */
export interface FaultDone {
  readonly fault: ChaosFault;
  /** From when to when it held, including the start of a process after it. */
  readonly fromMs: number;
  readonly toMs: number;
}

/** A page as it reached on-call. */
export interface Page {
  readonly atMs: number;
  /** The last token of an alert of the pipeline; `incident` of live's; `quarantine-<reason>`. */
  readonly what: string;
  /** What the page of an incident says. */
  readonly said?: IncidentSaid | undefined;
}

/** A run that is over. */
export interface ChaosRun {
  readonly startMs: number;
  /** Servers of NATS. */
  readonly nodes: number;
  readonly incidents: readonly ChaosIncident[];
  readonly planned: number;
  readonly done: readonly FaultDone[];
  /** What could not be done, and why. */
  readonly mistakes: readonly string[];
  readonly pages: readonly Page[];
  /** Processes that ended without a fault, and were started again. */
  readonly ended: readonly string[];
  /** NATS servers that were restarted because they wrote to a stream no more. */
  readonly mended: readonly string[];
  /** What is not healthy now. */
  readonly ill: readonly string[];
}

/** Maximum time until the page of an incident, once everything on its way works. */
const INCIDENT_LIMIT_MS = 15_000;
/** A longer outage is paged by itself. */
const OUTAGE_MS = 20_000;
/** Maximum time until its page, while who tells it is whole. */
const OUTAGE_LIMIT_MS = 20_000;
/** Maximum time until the pager that stands by goes on where another one was. */
const TAKEOVER_MS = 7_000;

/** Maximum time until a cluster of NATS stores again after the loss of one of its servers. */
const ELECTION_MS = 10_000;

/** One line for each incident and each long outage, and for what holds of the whole run. */
export function chaosChecks(run: ChaosRun): CheckLine[] {
  const outages = run.done.filter(({ fault: { kind, target }, fromMs, toMs }) =>
    isOutage(kind, target, run.nodes) && toMs - fromMs > OUTAGE_MS
  );
  return [
    equal("faults that were caused", run.planned, run.done.length),
    check("faults that could not be", "none", listed(run.mistakes), run.mistakes.length === 0),
    ...run.incidents.map((incident) => incidentLine(incident, run)),
    ...outages.map((outage) => outageLine(outage, run)),
    ...run.ended.map((each) => check("ended by itself", "is started again", each, true)),
    ...run.mended.map((each) => check("wrote no more", "is restarted by on-call", each, true)),
    falsePagesLine(run.pages.flatMap(({ said }) => said ?? []), run.incidents, run.startMs),
    check("ill at the end", "none", listed(run.ill), run.ill.length === 0),
  ];
}

/** Pages of incidents come by none of these; NATS and pagers have others beside them. */
const BESIDE_THE_ALERTS = /^(royalty|triage|postgres|QUARANTINE|nats-|pager)/;

function incidentLine(incident: ChaosIncident, run: ChaosRun): CheckLine {
  const { startMs, done, pages } = run;
  const beginMs = startMs + incident.beginMs;
  const endMs = startMs + incident.endMs;
  const inTheWay = [
    ...done.filter(({ fault }) => !BESIDE_THE_ALERTS.test(fault.target)),
    ...natsOut(run),
    ...pagersOut(run),
  ].filter(({ fromMs, toMs }) => fromMs < endMs && toMs > beginMs);
  const wholeMs = Math.max(beginMs, ...inTheWay.map(({ toMs }) => toMs));
  const limitMs = INCIDENT_LIMIT_MS + takeoverMs(run, wholeMs, wholeMs + INCIDENT_LIMIT_MS);
  const page = pages.find(({ atMs, said }) =>
    atMs >= beginMs && said !== undefined && isAbout(said.cell, incident)
  );
  const name = `page about ${incident.cdn} in ${incident.region}, from ${at(incident.beginMs)}`;
  const expected = `within ${limitMs / 1_000} s of ${
    wholeMs === beginMs ? "its begin" : `service, ${at(wholeMs - startMs)}`
  }`;
  if (page === undefined) return check(name, expected, "none", false);
  return check(name, expected, at(page.atMs - startMs), page.atMs - wholeMs <= limitMs);
}

function outageLine({ fault, fromMs, toMs }: FaultDone, run: ChaosRun): CheckLine {
  const { startMs, pages } = run;
  const name = `page about ${fault.kind} ${fault.target}, ${at(fromMs - startMs)} to ${
    at(toMs - startMs)
  }`;
  const wanted = pageOf(fault);
  const page = pages.find(({ atMs, what }) => atMs >= fromMs && wanted.test(what));
  const found = page === undefined ? "none" : `${page.what} after ${at(page.atMs - fromMs)}`;
  const mute = [...pagersOut(run), ...fault.target.startsWith("nats-") ? [] : natsOut(run)]
    .filter((span) => span.fromMs < toMs && span.toMs > fromMs);
  const toldMs = [fromMs, ...mute.map((span) => span.toMs)]
    .filter((beginMs) =>
      !mute.some((span) => span.fromMs < beginMs + OUTAGE_LIMIT_MS && span.toMs > beginMs)
    )
    .reduce((earliest, beginMs) => Math.min(earliest, beginMs), Infinity);
  if (toMs - toldMs < OUTAGE_LIMIT_MS) {
    const spans = mute.map((span) => `${at(span.fromMs - startMs)} to ${at(span.toMs - startMs)}`);
    return check(name, `nobody can tell, ${spans.join(", ")}`, found, true);
  }
  const limitMs = OUTAGE_LIMIT_MS + takeoverMs(run, fromMs, toldMs + OUTAGE_LIMIT_MS);
  const expected = `within ${limitMs / 1_000} s${
    toldMs === fromMs ? "" : ` of who tells, ${at(toldMs - startMs)}`
  }`;
  return check(name, expected, found, page !== undefined && page.atMs - toldMs <= limitMs);
}

/** The pages that tell an outage. */
function pageOf({ kind, target }: ChaosFault): RegExp {
  const [from = ""] = target.split("→");
  if (from === "ingest") return /^(ingest-|canary-edge$)/;
  if (from === "live") return /^(live-|canary-live$)/;
  if (from === "royalty" || from === "postgres") return /^(royalty-|triage-|canary-books$)/;
  if (from === "triage") return /^triage-/;
  if (from === "HEARTBEATS") return /^(ingest-|canary-edge$|stream-)/;
  if (from === "QUARANTINE") return /^(quarantine-|royalty-|live-|canary-|stream-)/;
  // A stream may still have room where another one has none, so that an alert is stored.
  return kind === "disk" ? /^(nats-|ingest-|canary-edge$)/ : /^nats-/;
}

/** A time, as in {@link FaultDone}. */
interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Faults that stop nothing: what they act on goes on, if slower. */
const GOES_ON: readonly FaultKind[] = ["slow", "jitter"];

/** When all pagers were out; each needs its link, too. */
function pagersOut({ done }: ChaosRun): Span[] {
  const of = (pager: string) =>
    done.filter(({ fault: { kind, target } }) =>
      (target === pager || target === `${pager}→nats`) && !GOES_ON.includes(kind)
    );
  const second = of("pager-2");
  return of("pager").flatMap((one) => second.flatMap((other) => overlapOf(one, other)));
}

/**
 * When NATS was out: its only server, or two of three, or one until the others have leaders and who
 * was connected to it has gone over.
 */
function natsOut({ nodes, done }: ChaosRun): Span[] {
  const out = done.filter(({ fault: { target } }) => target.startsWith("nats-"));
  if (nodes === 1) return out;
  return out.flatMap((one, i) => [
    { fromMs: one.fromMs, toMs: one.fromMs + ELECTION_MS },
    ...out.slice(i + 1).filter(({ fault: { target } }) => target !== one.fault.target)
      .flatMap((other) => overlapOf(one, other)),
  ]);
}

function overlapOf(a: Span, b: Span): Span[] {
  const fromMs = Math.max(a.fromMs, b.fromMs);
  const toMs = Math.min(a.toMs, b.toMs);
  return fromMs < toMs ? [{ fromMs, toMs }] : [];
}

/** How much longer a page may take because a pager was lost meanwhile, ms. */
function takeoverMs({ done }: ChaosRun, fromMs: number, toMs: number): number {
  const isLost = done.some(({ fault: { kind, target }, ...span }) =>
    target.startsWith("pager") && !GOES_ON.includes(kind) &&
    span.fromMs < toMs && span.toMs > fromMs
  );
  return isLost ? TAKEOVER_MS : 0;
}

function at(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join("; ");
}
