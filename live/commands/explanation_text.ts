/**
 * An explanation in words: a line a second, and a sentence that says why it opened or why not.
 *
 * Pure.
 *
 * @module
 */
import { left, renderTable, right } from "../../shared/process/cli/table.ts";
import { CHANNELS, ruleOfSignal } from "../detect/channels.ts";
import { openKey } from "../detect/detector.ts";
import type { Finding, FindingSignal, Measurement } from "../detect/finding.ts";
import type { CellName } from "../watch/cells.ts";
import { cellPhrase, percent } from "../incidents/wording.ts";
import { KINDS } from "../watch/cells.ts";
import {
  decisiveSpan,
  type ExplanationView,
  nearness,
  relevantFindings,
  secondsOf,
  type SignalSecond,
  spansOfSignal,
} from "./explanation.ts";

/** What an impaired viewer did, by signal. */
export const IMPAIRED_WORDS: Readonly<Record<FindingSignal, string>> = {
  rebuffer: "stalled",
  start: "waited for a first frame",
  silent: "stopped sending heartbeats",
};

/** The signal to show: the first that opened or was folded, else rebuffering. */
export function signalToShow({ seconds, findings, name }: ExplanationView): FindingSignal {
  const signals: readonly FindingSignal[] = ["rebuffer", "start", "silent"];
  const opened = (signal: FindingSignal) =>
    findings.some((each) => each.change === "open" && isAbout(each, signal, name)) ||
    secondsOf(seconds, signal).some(({ decision }) => decision === "open" || decision === "folded");
  return signals.find(opened) ?? "rebuffer";
}

/** The table of a signal: equal seconds are one line, unless `isWhole`. */
export function explanationTable(
  explained: ExplanationView,
  signal: FindingSignal,
  isWhole: boolean,
): string {
  const seconds = secondsOf(explained.seconds, signal);
  const findings = relevantFindings(explained, seconds, signal);
  const decisive = decisiveSpan(seconds, findings);
  const spans = spansOfSignal(signal).map((ms) => `in ${ms / 1_000} s`);
  const columns = [
    ...[left("time (UTC)"), right("viewers"), ...spans.map((span) => right(span))],
    ...[right(`usual ${spans[decisive] ?? ""}`), left("decision"), left("happened")],
  ];
  const lines: { readonly cells: string[]; readonly fromMs: number; toMs: number }[] = [];
  for (const second of seconds) {
    const cells = cellsOf(second, decisive, happenedAt(explained, findings, second.atMs));
    const last = lines.at(-1);
    if (!isWhole && last?.cells.join("\n") === cells.join("\n")) last.toMs = second.atMs;
    else lines.push({ cells, fromMs: second.atMs, toMs: second.atMs });
  }
  const rows = lines.map(({ cells, fromMs, toMs }) => [
    fromMs === toMs ? clock(fromMs) : `${clock(fromMs)}–${clock(toMs)}`,
    ...cells,
  ]);
  return renderTable(columns, rows, "no heartbeat was received in that time");
}

function cellsOf(second: SignalSecond, decisive: number, happened: string): string[] {
  const { spans, signal, decision, into, near } = second;
  const shown = spansOfSignal(signal).map((_, i) => {
    const now = spans[i];
    return now === undefined ? "" : againstBound(now);
  });
  const baseline = spans[decisive]?.baseline;
  const what = into !== undefined
    ? `folded into ${cellPhrase(into)}`
    : near !== undefined
    ? `improbable beside ${cellPhrase(near)}`
    : decision;
  return [
    ...[`${spans[decisive]?.watching ?? 0}`, ...shown],
    ...[baseline === undefined ? "" : percent(baseline), what, happened],
  ];
}

// `12 ≥ 9`: impaired, and how many would be improbable.
function againstBound({ impaired, bound, watching }: Measurement): string {
  if (watching === 0) return "-";
  if (bound > watching) return `${impaired}`;
  return `${impaired} ${impaired >= bound ? "≥" : "<"} ${bound}`;
}

function happenedAt(
  { name }: ExplanationView,
  findings: readonly Finding[],
  atMs: number,
): string {
  return findings.filter((each) => each.atMs === atMs).map((each) => {
    const verb = { open: "opens", update: "goes on", resolve: "resolves", close: "closes" };
    const why = each.why === undefined ? "" : `: ${each.why}`;
    const isOwn = isAbout(each, each.signal, name);
    return `${isOwn ? "" : `${cellPhrase(each.cell)} `}${verb[each.change]}${why}`;
  }).join(", ");
}

/** Why an incident of `signal` opened on the cell, or why not. */
export function verdictSentence(explained: ExplanationView, signal: FindingSignal): string {
  const seconds = secondsOf(explained.seconds, signal);
  const findings = relevantFindings(explained, seconds, signal);
  const own = findings.filter((each) => isAbout(each, signal, explained.name));
  const opened = own.find(({ change }) => change === "open");
  if (opened) return openedSentence(opened, own, explained);
  const folded = seconds.find(({ decision }) => decision === "folded");
  if (folded?.into) return foldedSentence(folded, folded.into, findings);
  if (seconds.every(({ decision }) => decision === "unknown")) {
    return `${signal}: it did not open: no viewer of ${cellPhrase(explained.span.cell)} was heard.`;
  }
  return closestSentence(seconds, signal, explained.span.cell);
}

function openedSentence(
  opened: Finding,
  own: readonly Finding[],
  { span, seconds }: ExplanationView,
): string {
  const { signal, now, onsetMs, atMs, folded } = opened;
  const isBefore = atMs < (seconds[0]?.atMs ?? span.fromMs);
  const end = own.find((each) =>
    each.atMs > atMs && (each.change === "resolve" || each.change === "close")
  );
  return `${signal}: it opened at ${clock(atMs)}${isBefore ? ", before the first line" : ""}: ` +
    `${figures(signal, now)}. The first began about ${clock(onsetMs)}.` +
    (folded > 0 ? ` It explains ${folded} more cells over their bound.` : "") +
    (end === undefined
      ? ` It goes on at ${clock(seconds.at(-1)?.atMs ?? span.toMs)}.`
      : ` It ended at ${clock(end.atMs)}: ${end.why ?? end.change}.`);
}

function foldedSentence(
  { signal, atMs }: SignalSecond,
  into: CellName,
  findings: readonly Finding[],
): string {
  const parent = findings.find((each) => each.change === "open" && isAbout(each, signal, into));
  return `${signal}: it did not open by itself: from ${
    clock(atMs)
  } on it is part of the incident ` +
    `on ${cellPhrase(into)}` +
    (parent ? `, which opened at ${clock(parent.atMs)}: ${figures(signal, parent.now)}.` : ".");
}

function closestSentence(
  seconds: readonly SignalSecond[],
  signal: FindingSignal,
  cell: CellName,
): string {
  let closest: { readonly second: SignalSecond; readonly now: Measurement } | undefined;
  for (const second of seconds) {
    for (const now of second.spans) {
      if (!closest || nearness(now) > nearness(closest.now)) closest = { second, now };
    }
  }
  if (!closest || closest.now.impaired === 0) {
    return `${signal}: it did not open: nobody ${IMPAIRED_WORDS[signal]}.`;
  }
  const { second, now } = closest;
  return `${signal}: it did not open. It came nearest at ${clock(second.atMs)}: ` +
    `${figures(signal, now)}; ${obstacle(second, now, cell)}.`;
}

// Why these figures open nothing: the conditions of the detector, in its order.
function obstacle(
  { signal, decision, near }: SignalSecond,
  now: Measurement,
  { kind }: CellName,
): string {
  const rule = ruleOfSignal(signal);
  const { watching, impaired, share, baseline, spanMs } = now;
  const outage = CHANNELS.slice(rule.first, rule.first + rule.count)
    .find((each) => each.spanMs === spanMs)?.outageShare ?? 1;
  if (watching < rule.minWatching) return `fewer than ${rule.minWatching} viewers prove nothing`;
  if (impaired < rule.minImpaired) return `fewer than ${rule.minImpaired} prove nothing`;
  if (impaired < now.bound) return "that is no evidence of more than what is usual";
  if (share < 2 * baseline) return "that is less than twice what is usual";
  if (decision === "learning") {
    return `what is usual was not known yet, and then only ${percent(outage)} opens`;
  }
  const minShare = rule.minShare[KINDS.indexOf(kind)] ?? 1;
  if (minShare > 1) return "it is not watched for that: a larger group has to show it";
  if (share < minShare) return `less than ${percent(minShare)} is not worth a page`;
  if (near) return `the incident on ${cellPhrase(near)} explains it`;
  return "that is improbable, but another cell or an incident that just ended explains it better";
}

function figures(signal: FindingSignal, now: Measurement): string {
  const { impaired, watching, share, bound, baseline, spanMs } = now;
  const over = signal === "silent" ? "" : ` in ${spanMs / 1_000} s`;
  return `${impaired} of ${watching} viewers (${percent(share)}) ${
    IMPAIRED_WORDS[signal]
  }${over}, where ` +
    `${percent(baseline)} is usual and ${bound > watching ? "no number" : bound} would be ` +
    "improbable";
}

function isAbout(finding: Finding, signal: FindingSignal, cell: CellName): boolean {
  return openKey(finding.signal, finding.cell) === openKey(signal, cell);
}

/** The time of day in UTC: `12:00:08`. */
export function clock(ms: number): string {
  return new Date(ms).toISOString().slice(11, 19);
}
