/**
 * Makes findings of changes: adds sums, onset, evidence, and the worst cells that are explained.
 *
 * @module
 */
import { logTail } from "./bound.ts";
import type { Candidates } from "./candidates.ts";
import { SIGNALS } from "./channels.ts";
import { type Finding, isWorse, type MeasuredCell, type Measurement } from "./finding.ts";
import type { OpenIncident } from "./open_incident.ts";
import type { CellSums, Passes } from "./passes.ts";
import type { Change, SignalWatch } from "./signal_watch.ts";

const MAX_WORST = 10;
const MAX_EVIDENCE = 300;
/** Part of the impaired sessions, besides those of the baseline, that may have begun before. */
const EARLY_PART = 0.05;

/** What findings are made from. */
export interface ReportInput {
  readonly changes: readonly Change[];
  readonly watch: SignalWatch;
  readonly tests: Candidates;
  readonly passes: Passes;
  readonly nowMs: number;
}

/** The cells of one incident that are over their bound, and the worst of them. */
interface Folded {
  readonly count: number;
  readonly worst: readonly number[];
}

/** The findings of `changes`, in their order. */
export function findingsOf(input: ReportInput): Finding[] {
  const { changes, passes, nowMs } = input;
  if (changes.length === 0) return [];
  const folded = changes.map((change) => foldedInto(input, change));
  const cells = new Set<number>();
  for (const [i, { incident, joined }] of changes.entries()) {
    for (const cell of [incident.cell, ...joined, ...(folded[i]?.worst ?? [])]) cells.add(cell);
  }
  const sums = passes.sums(cells, nowMs);
  return changes.map((change, i) =>
    findingOf(input, change, folded[i] ?? { count: 0, worst: [] }, sums)
  );
}

function findingOf(
  input: ReportInput,
  { change, incident, why, joined }: Change,
  folded: Folded,
  sums: ReadonlyMap<number, CellSums>,
): Finding {
  const { watch, tests, passes, nowMs } = input;
  const isOpen = change === "open";
  // A longer span still remembers what is over, so a resolve shows the spans that decided.
  const channel = change === "resolve" ? incident.decidingChannel(tests) : undefined;
  const now = isOpen
    ? withSums(incident.peak, sums.get(incident.cell))
    : measured(input, incident.cell, sums, channel);
  if (isOpen) {
    incident.onsetMs = onsetOf(now, sums.get(incident.cell), nowMs);
    incident.peak = now;
  } else if (isWorse(now, incident.peak)) incident.peak = now;
  const named = (cell: number): MeasuredCell => ({
    cell: tests.cells.name(cell),
    now: measured(input, cell, sums),
  });
  const worst = [...joined, ...folded.worst.filter((cell) => !joined.includes(cell))];
  return {
    change,
    signal: watch.rule.signal,
    cell: tests.cells.name(incident.cell),
    atMs: nowMs,
    onsetMs: incident.onsetMs,
    receivedAtMs: Math.min(nowMs, passes.sessions.newestMs),
    now,
    peak: incident.peak,
    evidence: evidenceOf(tests, incident, now),
    worst: worst.slice(0, MAX_WORST).map(named),
    ...(why === undefined ? {} : { why }),
    folded: folded.count,
  };
}

function measured(
  { watch }: ReportInput,
  cell: number,
  sums: ReadonlyMap<number, CellSums>,
  channel?: number,
): Measurement {
  return withSums(watch.measure(cell, watch.rule, channel), sums.get(cell));
}

/** `now` with the stalled and played time of its sessions. */
export function withSums(now: Measurement, sums: CellSums | undefined): Measurement {
  if (sums === undefined) return now;
  return {
    ...now,
    rebufferMs: Math.round(sums.rebufferMs),
    playedMs: Math.round(sums.playedMs),
  };
}

function evidenceOf(tests: Candidates, { cell, rule }: OpenIncident, now: Measurement): number {
  const precision = rule.precision[tests.cells.kinds[cell] ?? 0] ?? 1;
  const log = logTail(now.impaired, now.watching, now.baseline, precision);
  return Math.min(MAX_EVIDENCE, Math.max(0, -log / Math.LN10));
}

// The first impaired second: the times at which the impaired began, without the early ones that the
// baseline explains.
function onsetOf(now: Measurement, sums: CellSums | undefined, nowMs: number): number {
  const since = [...(sums?.sinceMs ?? [])].sort((a, b) => a - b);
  if (since.length === 0) return nowMs - Math.min(now.spanMs, 25_000);
  const usual = now.baseline * now.watching;
  const early = Math.round(usual + Math.sqrt(usual) + EARLY_PART * since.length);
  return since[Math.min(early, since.length - 1)] ?? nowMs;
}

function foldedInto({ watch, tests }: ReportInput, { incident }: Change): Folded {
  const list = tests.lists[SIGNALS.indexOf(watch.rule)];
  const worst: { readonly cell: number; readonly excess: number }[] = [];
  let count = 0;
  for (let i = 0; i < (list?.size ?? 0); i++) {
    const cell = list?.cells[i] ?? -1;
    const channel = list?.channels[i] ?? 0;
    if (cell === incident.cell || list?.weak[i] === 1) continue;
    if (!incident.members.some((member) => tests.cells.contains(member.cell, cell))) continue;
    count += 1;
    const excess = tests.impaired(cell, channel) -
      tests.of(cell, channel) * tests.baseline(cell, channel);
    if (worst.length === MAX_WORST && excess <= (worst[MAX_WORST - 1]?.excess ?? 0)) continue;
    worst.push({ cell, excess });
    worst.sort((a, b) => b.excess - a.excess);
    worst.length = Math.min(worst.length, MAX_WORST);
  }
  return { count, worst: worst.map(({ cell }) => cell) };
}
