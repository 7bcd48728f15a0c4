/**
 * Metrics of the audience: viewers and impaired viewers by region, and of the titles most watched.
 *
 * A scrape scans the cells once; the stalled and played time of regions is a pass over the
 * sessions, made at most once in {@link SUMS_MS}. Labels are bounded: {@link MAX_REGIONS} regions,
 * the rest as `other`, and {@link MAX_TITLES} titles, of which at most one a minute changes once
 * the list is full, because each new label is a new time series of every database that scrapes.
 *
 * Pure: the caller passes the clock.
 *
 * @module
 */
import type { Metrics, MetricSample } from "../shared/process/metrics.ts";
import { ruleOfSignal } from "./detect/channels.ts";
import type { Detector } from "./detect/detector.ts";
import { Passes } from "./detect/passes.ts";
import { type CellTable, COUNT_STRIDE, COUNTS, KINDS, REGION, TITLE } from "./watch/cells.ts";
import { OTHER } from "./watch/intern.ts";

/** Maximum regions with labels of their own; those with most viewers. */
export const MAX_REGIONS = 50;
/** Maximum titles with labels. */
export const MAX_TITLES = 20;
/** The label of all other regions. */
const OTHER_LABEL = "other";
/** A title replaces one of the list at most once in this time, ms. */
const REPLACE_MS = 60_000;
/** How much larger an audience has to be to replace the smallest of the list. */
const REPLACE_FACTOR = 1.25;
/** Places of the list that are filled at once; then one in {@link REPLACE_MS}. */
const FIRST_NEWCOMERS = MAX_TITLES;
/** Least time between two passes over the sessions, ms. */
const SUMS_MS = 10_000;
/** Least time between two scans of the cells, ms: one for all metrics of a scrape. */
const SCAN_MS = 1_000;
const REBUFFER = ruleOfSignal("rebuffer");
/** The span in which a viewer is impaired here: 20 s, see `CHANNELS`. */
const CHANNEL = REBUFFER.first + 1;
const IMPAIRED_COUNT = COUNTS.indexOf("stalled20");
const REGION_KIND = KINDS.indexOf("region");
const TITLE_KIND = KINDS.indexOf("title");

/** What the metrics are read from. */
export interface AudienceSource {
  /** The detector now; another one after a rewind. */
  readonly detector: () => Detector;
  /** Receipt time up to which is decided, ms; −∞ before the first decision. */
  readonly decidedMs: () => number;
  /** A monotonic clock, ms. */
  readonly monotonicMs: () => number;
}

/** Viewers of a region or title. */
export interface AudienceRow {
  readonly name: string;
  readonly viewers: number;
  readonly impaired: number;
}

/** The cell of a row; −1 for the sum of others. */
interface CellRow extends AudienceRow {
  readonly cell: number;
}

/** A region, with what is usual in it and its share of stalled time. */
export interface RegionRow extends CellRow {
  /** Usual share of impaired viewers, 0 to 1; undefined for the sum of others. */
  readonly baseline: number | undefined;
  /** Σ stalled / Σ (played + stalled) of the last 60 s; undefined while nobody played. */
  readonly rebufferRatio: number | undefined;
}

/** Registers the metrics of the audience. */
export function registerAudienceMetrics(metrics: Metrics, source: AudienceSource): void {
  const audience = new AudienceLabels(source);
  const regions = (of: (row: RegionRow) => number | undefined) => () =>
    samples(audience.regions, "region", of);
  const titles = (of: (row: AudienceRow) => number) => () => samples(audience.titles, "title", of);
  metrics.gaugeOf(
    "twofold_live_viewers",
    "Viewer sessions that watch, by region; the regions beyond the largest 50 are region other",
    regions(({ viewers }) => viewers),
    ["region"],
  );
  metrics.gaugeOf(
    "twofold_live_impaired_viewers",
    "Viewer sessions that stalled at least 1 s and 10 % of the last 20 s, or rebuffer now",
    regions(({ impaired }) => impaired),
    ["region"],
  );
  metrics.gaugeOf(
    "twofold_live_impaired_ratio",
    "Impaired viewers of all viewers, by region, 0 to 1",
    regions(share),
    ["region"],
  );
  metrics.gaugeOf(
    "twofold_live_baseline_ratio",
    "The usual share of impaired viewers, by region, 0 to 1",
    regions(({ baseline }) => baseline),
    ["region"],
  );
  metrics.gaugeOf(
    "twofold_live_rebuffer_ratio",
    "Stalled time of stalled and played time in the last 60 s, by region, 0 to 1",
    regions(({ rebufferRatio }) => rebufferRatio),
    ["region"],
  );
  metrics.gaugeOf(
    "twofold_live_title_viewers",
    "Viewer sessions of the titles most watched",
    titles(({ viewers }) => viewers),
    ["title"],
  );
  metrics.gaugeOf(
    "twofold_live_title_impaired_viewers",
    "Impaired viewer sessions of the titles most watched",
    titles(({ impaired }) => impaired),
    ["title"],
  );
  metrics.gaugeOf(
    "twofold_live_title_impaired_ratio",
    "Impaired viewers of all viewers of the titles most watched, 0 to 1",
    titles(share),
    ["title"],
  );
}

/** Which regions and titles have labels, and their figures. */
export class AudienceLabels {
  readonly #top = new TopTitles();
  #regions: readonly RegionRow[] = [];
  #titles: readonly AudienceRow[] = [];
  #scannedMs = -Infinity;
  #passes: Passes | undefined;
  #ratios = new Map<string, number>();
  #summedMs = -Infinity;

  constructor(readonly source: AudienceSource) {}

  /** The regions with most viewers, largest first, then the sum of the others if there are any. */
  get regions(): readonly RegionRow[] {
    this.#scan();
    return this.#regions;
  }

  /** The titles of the list, in no order. */
  get titles(): readonly AudienceRow[] {
    this.#scan();
    return this.#titles;
  }

  #scan(): void {
    const nowMs = this.source.monotonicMs();
    if (nowMs - this.#scannedMs < SCAN_MS) return;
    this.#scannedMs = nowMs;
    const detector = this.source.detector();
    const { cells } = detector;
    const regions = rowsOf(cells, REGION_KIND).sort((a, b) => b.viewers - a.viewers);
    const shown = regions.filter(({ cell }) => cells.a[cell] !== OTHER).slice(0, MAX_REGIONS);
    const isShown = new Set(shown);
    const others = regions.filter((row) => !isShown.has(row));
    this.#sum(detector, shown, others, nowMs);
    this.#regions = [...shown, ...sumOf(others)].map((row) => ({
      ...row,
      baseline: row.cell < 0 ? undefined : detector.measure(row.cell, REBUFFER, CHANNEL).baseline,
      rebufferRatio: this.#ratios.get(row.name),
    }));
    this.#titles = this.#top.rows(cells, nowMs);
  }

  // Played and stalled time by name of the region: cells change their numbers between two passes.
  #sum(
    { sessions }: Detector,
    shown: readonly CellRow[],
    others: readonly CellRow[],
    nowMs: number,
  ): void {
    const decidedMs = this.source.decidedMs();
    if (nowMs - this.#summedMs < SUMS_MS || !Number.isFinite(decidedMs)) return;
    this.#summedMs = nowMs;
    if (this.#passes?.sessions !== sessions) this.#passes = new Passes(sessions);
    const rows = [...shown, ...others.map((row) => ({ ...row, name: OTHER_LABEL }))];
    const sums = this.#passes.sums(new Set(rows.map(({ cell }) => cell)), decidedMs);
    const stalled = new Map<string, number>();
    const all = new Map<string, number>();
    for (const { name, cell } of rows) {
      const { rebufferMs = 0, playedMs = 0 } = sums.get(cell) ?? {};
      stalled.set(name, (stalled.get(name) ?? 0) + rebufferMs);
      all.set(name, (all.get(name) ?? 0) + rebufferMs + playedMs);
    }
    this.#ratios = new Map(
      [...all].filter(([, ms]) => ms > 0).map((
        [name, ms],
      ) => [name, (stalled.get(name) ?? 0) / ms]),
    );
  }
}

/** The titles with labels; the list changes slowly. */
class TopTitles {
  #names: readonly string[] = [];
  #newcomers = FIRST_NEWCOMERS;
  #refilledMs = -Infinity;

  /** The titles of the list with their viewers, at `nowMs` of a monotonic clock. */
  rows(cells: CellTable, nowMs: number): AudienceRow[] {
    this.#refill(nowMs);
    const listed = this.#names.flatMap((name) => {
      const cell = cells.named({ kind: "title", title: name }, 0, false);
      return cell < 0 || cells.watching(cell) === 0 ? [] : [rowOf(cells, cell)];
    });
    const isListed = new Set(listed.map(({ name }) => name));
    for (const row of largestTitles(cells)) {
      if (isListed.has(row.name)) continue;
      if (this.#newcomers === 0) break;
      if (listed.length >= MAX_TITLES) {
        const smallest = listed.reduce((a, b) => b.viewers < a.viewers ? b : a);
        if (row.viewers < smallest.viewers * REPLACE_FACTOR) break;
        listed.splice(listed.indexOf(smallest), 1);
      }
      this.#newcomers -= 1;
      listed.push(row);
    }
    this.#names = listed.map(({ name }) => name);
    return listed;
  }

  // While the list is full for the first time, what was not used of the first places is lost.
  #refill(nowMs: number): void {
    if (this.#refilledMs === -Infinity) this.#refilledMs = nowMs;
    const minutes = Math.floor((nowMs - this.#refilledMs) / REPLACE_MS);
    if (minutes === 0) return;
    this.#refilledMs += minutes * REPLACE_MS;
    const isBeginning = this.#names.length < MAX_TITLES && this.#newcomers > 1;
    this.#newcomers = Math.min(isBeginning ? FIRST_NEWCOMERS : 1, this.#newcomers + minutes);
  }
}

function samples<L extends string, R extends AudienceRow>(
  rows: readonly R[],
  label: L,
  of: (row: R) => number | undefined,
): MetricSample<L>[] {
  return rows.flatMap((row) => {
    const value = of(row);
    const labels: Partial<Record<L, string>> = {};
    labels[label] = row.name;
    return value === undefined || !hasLabel(labels, label) ? [] : [[labels, value] as const];
  });
}

function hasLabel<L extends string>(
  labels: Partial<Record<L, string>>,
  label: L,
): labels is Record<L, string> {
  return labels[label] !== undefined;
}

function share({ viewers, impaired }: AudienceRow): number {
  return viewers === 0 ? 0 : impaired / viewers;
}

function rowOf(cells: CellTable, cell: number): CellRow {
  const dimension = cells.kinds[cell] === REGION_KIND ? REGION : TITLE;
  return {
    cell,
    name: cells.interner(dimension).name(cells.a[cell] ?? OTHER),
    viewers: cells.watching(cell),
    impaired: cells.counts[cell * COUNT_STRIDE + IMPAIRED_COUNT] ?? 0,
  };
}

/** The cells of `kind` that have viewers. */
function rowsOf(cells: CellTable, kind: number): CellRow[] {
  const rows: CellRow[] = [];
  const { kinds, counts, end } = cells;
  for (let cell = 0; cell < end; cell++) {
    if (kinds[cell] !== kind || (counts[cell * COUNT_STRIDE] ?? 0) === 0) continue;
    if (cells.has(cell)) rows.push(rowOf(cells, cell));
  }
  return rows;
}

/** The {@link MAX_TITLES} titles with most viewers, largest first. */
function largestTitles(cells: CellTable): CellRow[] {
  const top: number[] = [];
  const { kinds, counts, end, a } = cells;
  const viewersOf = (cell = 0) => counts[cell * COUNT_STRIDE] ?? 0;
  let least = 0;
  for (let cell = 0; cell < end; cell++) {
    if (kinds[cell] !== TITLE_KIND) continue;
    const viewers = viewersOf(cell);
    // A cell that is free keeps its kind. `_other` is no title; one displaced is about to be.
    if (viewers <= least || !cells.has(cell)) continue;
    if (a[cell] === OTHER || cells.isDisplaced(cell)) continue;
    const at = top.findIndex((other) => viewersOf(other) < viewers);
    top.splice(at < 0 ? top.length : at, 0, cell);
    if (top.length > MAX_TITLES) top.pop();
    if (top.length === MAX_TITLES) least = viewersOf(top[MAX_TITLES - 1]);
  }
  return top.map((cell) => rowOf(cells, cell));
}

function sumOf(rows: readonly CellRow[]): CellRow[] {
  if (rows.length === 0) return [];
  return [{
    cell: -1,
    name: OTHER_LABEL,
    viewers: rows.reduce((sum, { viewers }) => sum + viewers, 0),
    impaired: rows.reduce((sum, { impaired }) => sum + impaired, 0),
  }];
}
