/**
 * Passes over all sessions: what open incidents explain of a cell, and sums for findings.
 *
 * A pass visits each session once, however many cells ask, so its cost is bounded by the sessions.
 *
 * @module
 */
import { ALL, type CellTable, COUNT_STRIDE } from "../watch/cells.ts";
import { CELL_STRIDE, IMPAIRED, type SessionTable, WATCHING } from "../watch/sessions.ts";

/** Sums of a cell's sessions. */
export interface CellSums {
  rebufferMs: number;
  playedMs: number;
  /** When its impaired sessions began to be, in no order; a part of them if they are many. */
  readonly sinceMs: number[];
}

/** Onset times kept a cell: enough for a quantile. */
const MAX_ONSETS = 2_000;

/** Passes over the sessions of a table. */
export class Passes {
  /** By cell: 1 + its place among those asked for, 0 for the others. */
  readonly #places: Int32Array;

  constructor(readonly sessions: SessionTable) {
    this.#places = new Int32Array(sessions.cells.limits.cells);
  }

  /**
   * The share that each cell would have if its sessions were impaired like the worst group that
   * each is in: the mean over its sessions of max(p, share of any group with the session).
   *
   * @param shares Share of the group on each cell, 0 for none.
   * @param baseline Baseline of a cell.
   */
  expected(
    asked: readonly number[],
    shares: Float32Array,
    baseline: (cell: number) => number,
  ): number[] {
    const base = Float64Array.from(asked, baseline);
    const extra = new Float64Array(asked.length);
    this.#mark(asked);
    this.#explain(shares, base, extra);
    this.#unmark(asked);
    return asked.map((cell, i) => {
      const watching = this.sessions.cells.watching(cell);
      return (base[i] ?? 0) + (watching === 0 ? 0 : (extra[i] ?? 0) / watching);
    });
  }

  #explain(shares: Float32Array, base: Float64Array, extra: Float64Array): void {
    const { flags, cellIds, end } = this.sessions;
    const places = this.#places;
    const ofAll = shares[ALL] ?? 0;
    const placeOfAll = places[ALL] ?? 0;
    for (let row = 0, from = 0; row < end; row++, from += CELL_STRIDE) {
      if (((flags[row] ?? 0) & WATCHING) === 0) continue;
      let share = ofAll;
      let asked = placeOfAll;
      for (let at = from; at < from + CELL_STRIDE; at++) {
        const cell = cellIds[at] ?? -1;
        if (cell < 0) continue;
        const other = shares[cell] ?? 0;
        if (other > share) share = other;
        asked |= places[cell] ?? 0;
      }
      if (asked === 0 || share === 0) continue;
      if (placeOfAll) addExcess(base, extra, placeOfAll - 1, share);
      for (let at = from; at < from + CELL_STRIDE; at++) {
        const place = places[cellIds[at] ?? -1] ?? 0;
        if (place) addExcess(base, extra, place - 1, share);
      }
    }
  }

  /** Sums of the sessions of each of `cells`. */
  sums(cells: ReadonlySet<number>, nowMs: number): Map<number, CellSums> {
    const asked = [...cells];
    const sums = asked.map((): CellSums => ({ rebufferMs: 0, playedMs: 0, sinceMs: [] }));
    if (asked.length > 0) {
      this.#mark(asked);
      this.#sum(sums, nowMs);
      this.#unmark(asked);
    }
    return new Map(sums.map((sum, i) => [asked[i] ?? ALL, sum]));
  }

  #sum(sums: readonly CellSums[], nowMs: number): void {
    const { flags, cellIds, sinceMs, history, end } = this.sessions;
    const places = this.#places;
    const now32 = nowMs >>> 0;
    const placeOfAll = places[ALL] ?? 0;
    for (let row = 0, from = 0; row < end; row++, from += CELL_STRIDE) {
      if (((flags[row] ?? 0) & WATCHING) === 0) continue;
      let asked = placeOfAll;
      for (let at = from; at < from + CELL_STRIDE; at++) asked |= places[cellIds[at] ?? -1] ?? 0;
      if (asked === 0) continue;
      const playedMs = history.playedWithin60s(row, now32);
      const rebufferMs = history.hasStalls(row, now32)
        ? history.stalledWithin(row, now32, 60_000)
        : 0;
      const since = (flags[row] ?? 0) & IMPAIRED ? sinceMs[row] ?? nowMs : NaN;
      for (let at = from - 1; at < from + CELL_STRIDE; at++) {
        const place = at < from ? placeOfAll : places[cellIds[at] ?? -1] ?? 0;
        const sum = place === 0 ? undefined : sums[place - 1];
        if (sum === undefined) continue;
        sum.playedMs += playedMs;
        sum.rebufferMs += rebufferMs;
        if (since === since && sum.sinceMs.length < MAX_ONSETS) sum.sinceMs.push(since);
      }
    }
  }

  #mark(asked: readonly number[]): void {
    for (const [i, cell] of asked.entries()) this.#places[cell] = i + 1;
  }

  #unmark(asked: readonly number[]): void {
    for (const cell of asked) this.#places[cell] = 0;
  }
}

function addExcess(base: Float64Array, extra: Float64Array, at: number, share: number): void {
  const excess = share - (base[at] ?? 0);
  if (excess > 0) extra[at] = (extra[at] ?? 0) + excess;
}

/** The cell of `kind` with most of the sessions of `cell`, and their part of it, 0 to 1. */
export function largestPart(
  cells: CellTable,
  cell: number,
  kind: number,
): { readonly cell: number; readonly part: number } {
  let best = cell;
  let most = 0;
  for (let inner = 0; inner < cells.end; inner++) {
    if (cells.kinds[inner] !== kind || cells.otherParent[inner] !== cell) continue;
    const watching = cells.has(inner) ? cells.counts[inner * COUNT_STRIDE] ?? 0 : 0;
    if (watching > most) [best, most] = [inner, watching];
  }
  return { cell: best, part: most / Math.max(1, cells.watching(cell)) };
}
