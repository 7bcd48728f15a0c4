/**
 * What must be true after a run of chaos besides the books: which pages came, and when.
 *
 * Pure. Times are ms since the epoch.
 *
 * @module
 */
import { check, type CheckLine, equal } from "../../dev/demo/check_line.ts";
import { falsePagesLine, type IncidentSaid, isAbout } from "./false_pages.ts";
import type { ChaosFault, ChaosIncident, FaultKind } from "./schedule.ts";

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
const PAGE_LIMIT_MS = 15_000;
/** A longer outage is paged by itself. */
const OUTAGE_MS = 20_000;

/** One line for each incident and each long outage, and for what holds of the whole run. */
export function chaosChecks(run: ChaosRun): CheckLine[] {
  return [
    equal("faults that were caused", run.planned, run.done.length),
    check("faults that could not be", "none", listed(run.mistakes), run.mistakes.length === 0),
    ...run.incidents.map((incident) => incidentLine(incident, run)),
    ...run.done.filter(isOutage).map((outage) => outageLine(outage, run)),
    ...run.ended.map((each) => check("ended by itself", "is started again", each, true)),
    ...run.mended.map((each) => check("wrote no more", "is restarted by on-call", each, true)),
    falsePagesLine(run.pages.flatMap(({ said }) => said ?? []), run.incidents, run.startMs),
    check("ill at the end", "none", listed(run.ill), run.ill.length === 0),
  ];
}

/** Pages of incidents come by none of these. */
const BESIDE_THE_ALERTS = /^(royalty|triage|postgres|QUARANTINE)/;

function incidentLine(incident: ChaosIncident, { startMs, done, pages }: ChaosRun): CheckLine {
  const beginMs = startMs + incident.beginMs;
  const endMs = startMs + incident.endMs;
  const inTheWay = done.filter(({ fault, fromMs, toMs }) =>
    !BESIDE_THE_ALERTS.test(fault.target) && fromMs < endMs && toMs > beginMs
  );
  const wholeMs = Math.max(beginMs, ...inTheWay.map(({ toMs }) => toMs));
  const page = pages.find(({ atMs, said }) =>
    atMs >= beginMs && said !== undefined && isAbout(said.cell, incident)
  );
  const name = `page about ${incident.cdn} in ${incident.region}, from ${at(incident.beginMs)}`;
  const expected = `within ${PAGE_LIMIT_MS / 1_000} s of ${
    wholeMs === beginMs ? "its begin" : `service, ${at(wholeMs - startMs)}`
  }`;
  if (page === undefined) return check(name, expected, "none", false);
  return check(name, expected, at(page.atMs - startMs), page.atMs - wholeMs <= PAGE_LIMIT_MS);
}

const STOPS: readonly FaultKind[] = ["kill", "freeze", "cut", "half-open", "full"];

function isOutage({ fault: { kind, target }, fromMs, toMs }: FaultDone): boolean {
  // Two nodes of a cluster go on, and a device that is cut off is none of our services.
  const isServed = /^nats-[1-9]/.test(target) || target === "devices→ingest";
  return STOPS.includes(kind) && !isServed && toMs - fromMs > OUTAGE_MS;
}

function outageLine(outage: FaultDone, { startMs, done, pages }: ChaosRun): CheckLine {
  const { fault, fromMs, toMs } = outage;
  const seconds = ((toMs - fromMs) / 1_000).toFixed(1);
  const name = `page about ${fault.kind} ${fault.target}, from ${at(fromMs - startMs)}`;
  const wanted = pageOf(fault.target);
  const page = pages.find(({ atMs, what }) =>
    atMs >= fromMs && atMs <= toMs + PAGE_LIMIT_MS && wanted.test(what)
  );
  if (page !== undefined) {
    const found = `${page.what} after ${((page.atMs - fromMs) / 1_000).toFixed(1)} s`;
    return check(name, "paged", found, true);
  }
  const tellers = tellersOf(fault.target);
  const silenced = done.filter((other) =>
    other !== outage && tellers.test(other.fault.target) && other.fromMs < toMs &&
    other.toMs > fromMs
  );
  return check(
    name,
    silenced.length === 0 ? "paged" : "paged, unless who tells is out",
    silenced.length === 0
      ? `none in ${seconds} s`
      : `none; out too: ${silenced.map(({ fault }) => fault.target).join(", ")}`,
    silenced.length > 0,
  );
}

/** The pages that tell the outage of a target. */
function pageOf(target: string): RegExp {
  const [from = "", to] = target.split("→");
  if (from === "ingest") return /^(ingest-|canary-edge$)/;
  if (from === "live") return /^(live-|canary-live$)/;
  if (from === "royalty" || from === "postgres") return /^(royalty-|triage-|canary-books$)/;
  if (from === "pager") return to === undefined ? /^pager-/ : /^(pager-|nats-silent$)/;
  if (from === "triage") return /^triage-/;
  if (from === "HEARTBEATS") return /^(ingest-|canary-edge$|stream-)/;
  if (from === "QUARANTINE") return /^(quarantine-|royalty-|live-|canary-|stream-)/;
  return /-silent$/;
}

/** Who would tell it: without them nothing can be paged. */
function tellersOf(target: string): RegExp {
  if (target.startsWith("nats-")) return /^pager/;
  return target.startsWith("pager") ? /^(triage|nats-)/ : /^(pager|nats-)/;
}

function at(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join("; ");
}
