/**
 * Makes findings of changes: adds sums, onset, evidence, and the worst cells that are explained.
 *
 * @module
 */
import { ALL, type CellKind, KINDS } from "../watch/cells.ts";
import { logTail } from "./bound.ts";
import type { Candidates } from "./candidates.ts";
import { SIGNALS } from "./channels.ts";
import { excessOf, type Finding, isWorse, type MeasuredCell, type Measurement } from "./finding.ts";
import type { OpenIncident } from "./open_incident.ts";
import type { CellSums, Passes } from "./passes.ts";
import type { Change, SignalWatch } from "./signal_watch.ts";

const MAX_WORST = 10;
const PLACES: readonly CellKind[] = ["all", "region", "title", "title_region"];
const MAX_EVIDENCE = 300;
/** Times the share of an incident from which a CDN, ISP, build or model in it is worth naming. */
const LEAD_FACTOR = 1.25;
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

/** The same while they are looked for. */
interface FoldedCells {
  count: number;
  readonly worst: { readonly cell: number; readonly excess: number }[];
  /** The cell counted last, which several members may contain. */
  last: number;
}

/** The findings of `changes`, in their order. */
export function findingsOf(input: ReportInput): Finding[] {
  const { changes, passes, nowMs } = input;
  if (changes.length === 0) return [];
  const folded = foldedInto(input);
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

/** Whether `cell` is a region, a title, or a title in a region: what a page lists the worst of. */
function isPlace({ cells }: Candidates, cell: number): boolean {
  return PLACES.includes(KINDS[cells.kinds[cell] ?? 0] ?? "all");
}

function isLead(tests: Candidates, outer: number, cell: number, channel: number): boolean {
  return tests.share(cell, channel) >= LEAD_FACTOR * tests.share(outer, channel);
}

// Of each change's incident, its cells over their bound; one look at each cell for all changes.
function foldedInto({ watch, tests, changes }: ReportInput): Folded[] {
  const list = tests.lists[SIGNALS.indexOf(watch.rule)];
  const folded = changes.map((): FoldedCells => ({ count: 0, worst: [], last: -1 }));
  const byMember = new Map<number, number[]>();
  for (const [i, { incident }] of changes.entries()) {
    for (const { cell } of incident.members) {
      const known = byMember.get(cell);
      if (known === undefined) byMember.set(cell, [i]);
      else known.push(i);
    }
  }
  const ofAll = byMember.get(ALL) ?? [];
  const { regionParent, otherParent } = tests.cells;
  for (let i = 0; i < (list?.size ?? 0); i++) {
    const cell = list?.cells[i] ?? -1;
    if (list?.weak[i] === 1) continue;
    const channel = list?.channels[i] ?? 0;
    const add = (change: number) => {
      const found = folded[change];
      const outer = changes[change]?.incident.cell;
      if (found === undefined || outer === undefined || outer === cell) return;
      addFolded(tests, found, { outer, cell, channel });
    };
    ofAll.forEach(add);
    byMember.get(cell)?.forEach(add);
    byMember.get(regionParent[cell] ?? -1)?.forEach(add);
    byMember.get(otherParent[cell] ?? -1)?.forEach(add);
  }
  return folded.map(({ count, worst }) => ({ count, worst: worst.map(({ cell }) => cell) }));
}

function addFolded(
  tests: Candidates,
  found: FoldedCells,
  { outer, cell, channel }: { outer: number; cell: number; channel: number },
): void {
  if (found.last === cell) return;
  found.last = cell;
  found.count += 1;
  // A CDN that stalls as its region does is no lead; a relative elsewhere is part of the news.
  const isInside = tests.cells.contains(outer, cell);
  if (isInside && !isPlace(tests, cell) && !isLead(tests, outer, cell, channel)) return;
  const { worst } = found;
  const excess = excessOf({
    watching: tests.of(cell, channel),
    impaired: tests.impaired(cell, channel),
    baseline: tests.baseline(cell, channel),
  });
  if (worst.length === MAX_WORST && excess <= (worst[MAX_WORST - 1]?.excess ?? 0)) return;
  worst.push({ cell, excess });
  worst.sort((a, b) => b.excess - a.excess);
  worst.length = Math.min(worst.length, MAX_WORST);
}
