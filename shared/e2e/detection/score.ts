/**
 * Compares what a detector said with what was true.
 *
 * Pure.
 *
 * @module
 */
import type { CellName } from "../../../live/watch/cells.ts";
import type { Scope } from "../worlds/fault.ts";
import type { Decided, Heard, LabelledTruth, Trial } from "./trial.ts";

/** How one incident was found. Times are ms after it began or, for `closeMs`, after it ended. */
export interface Found {
  /** Until the first page about it; undefined when it was missed. */
  readonly openMs?: number;
  /** Until everything about it was closed; undefined when something stayed open. */
  readonly closeMs?: number;
  readonly pages: number;
  /** Whether a page named its cause. */
  readonly isNamed: boolean;
  /** Pages that were resolved as recovered while it went on. */
  readonly falseRecoveries: number;
}

/** What a detector did in one trial. */
export interface Score {
  /** One for each truth that has to be found. */
  readonly found: readonly Found[];
  /** One for each truth that may page. */
  readonly optional: readonly Found[];
  readonly truePages: number;
  /** The pages about nothing. */
  readonly falsePages: readonly Decided[];
  /** Pages before the end of the warm-up. */
  readonly coldPages: number;
}

/** After its end, an incident's last heartbeats are still on their way and in the windows. */
const AFTERWARDS_MS = 90_000;

/** Scores what was `heard` in `trial`; a page is a decision to open. */
export function scoreOf(trial: Trial, heard: Pick<Heard, "decisions">): Score {
  const opens = heard.decisions.filter(({ finding }) => finding.change === "open");
  const late = opens.filter(({ atMs }) => atMs >= trial.warmMs);
  const falsePages = late.filter((page) => !trial.truths.some((truth) => isAbout(truth, page)));
  const required = trial.truths.filter(({ isOptional }) => !isOptional);
  const optional = trial.truths.filter(({ isOptional }) => isOptional);
  const others = late.filter((page) => !required.some((truth) => isAbout(truth, page)));
  return {
    found: required.map((truth) => foundOf(truth, late, heard.decisions)),
    optional: optional.map((truth) => foundOf(truth, others, heard.decisions)),
    truePages: late.length - falsePages.length,
    falsePages,
    coldPages: opens.length - late.length,
  };
}

function foundOf(
  truth: LabelledTruth,
  opens: readonly Decided[],
  decisions: readonly Decided[],
): Found {
  const pages = opens.filter((page) => isAbout(truth, page));
  const [first] = pages;
  if (!first) return { pages: 0, isNamed: false, falseRecoveries: 0 };
  const ends = pages.map((page) => endOf(page, decisions));
  const closedAtMs = ends.map((end) => end?.atMs ?? Infinity);
  const lastMs = closedAtMs.reduce((max, each) => Math.max(max, each), 0);
  const falseRecoveries =
    ends.filter((end) => end && end.atMs < truth.untilMs && end.finding.why === "recovered").length;
  return {
    openMs: first.atMs - truth.fromMs,
    ...(lastMs < Infinity ? { closeMs: Math.max(0, lastMs - truth.untilMs) } : {}),
    pages: pages.length,
    isNamed: pages.some(({ finding }) => (truth.names ?? namesScope(truth.scope))(finding.cell)),
    falseRecoveries,
  };
}

/** The decision that ended what `page` began. */
function endOf(page: Decided, decisions: readonly Decided[]): Decided | undefined {
  const { cell, signal } = page.finding;
  return decisions.find(({ atMs, finding }) =>
    atMs > page.atMs && (finding.change === "resolve" || finding.change === "close") &&
    finding.signal === signal && keyOf(finding.cell) === keyOf(cell)
  );
}

function isAbout(truth: LabelledTruth, { atMs, finding }: Decided): boolean {
  return truth.fromMs <= atMs && atMs < truth.untilMs + AFTERWARDS_MS &&
    (truth.signals ?? ["rebuffer"]).includes(finding.signal) &&
    overlaps(truth.scope, finding.cell);
}

const DIMENSIONS = ["region", "title", "cdn", "isp", "build", "model"] as const;

/** Whether somebody can be in both: no dimension is fixed to two values. */
export function overlaps(scope: Scope, cell: Scope): boolean {
  return DIMENSIONS.every((each) =>
    scope[each] === undefined || cell[each] === undefined || scope[each] === cell[each]
  );
}

/** Whether a cell fixes exactly the dimensions of `scope`. */
export function namesScope(scope: Scope): (cell: CellName) => boolean {
  return (cell) => DIMENSIONS.every((each) => scope[each] === cell[each]);
}

/** Whether a cell fixes the dimensions of `scope` and perhaps more. */
export function namesWithin(scope: Scope): (cell: CellName) => boolean {
  return (cell) =>
    DIMENSIONS.every((each) => scope[each] === undefined || scope[each] === cell[each]);
}

function keyOf(cell: CellName): string {
  return [cell.kind, ...DIMENSIONS.map((each) => cell[each] ?? "")].join("\n");
}

/** The value below which a share `q` (0 to 1) of `values` is; undefined without values. */
export function quantile(values: readonly number[], q: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? sorted[0];
}

/**
 * The rate above which fewer than `count` + 1 events are improbable: the one-sided 95 % upper bound
 * of the mean of a Poisson distribution (F. Garwood, "Fiducial limits for the Poisson
 * distribution", 1936), found by bisection of P(X ≤ count) = 5 %.
 */
export function poissonUpper95(count: number): number {
  let [low, high] = [count, count + 10 + 5 * Math.sqrt(count + 1)];
  for (let round = 0; round < 60; round++) {
    const middle = (low + high) / 2;
    if (poissonAtMost(count, middle) > 0.05) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** P(X ≤ count) for a Poisson variable of the given mean, in logarithms against underflow. */
function poissonAtMost(count: number, mean: number): number {
  let term = -mean;
  let sum = Math.exp(term);
  for (let k = 1; k <= count; k++) {
    term += Math.log(mean / k);
    sum += Math.exp(term);
  }
  return sum;
}
