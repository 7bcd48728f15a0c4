/**
 * Passes over all sessions: what open incidents explain of a cell, and sums for findings.
 *
 * A pass visits each session once, however many cells ask, so its cost is bounded by the sessions.
 * Of a session it reads the flags, and the cells of those kinds alone that matter.
 *
 * @module
 */
import { ALL, type CellTable, COUNT_STRIDE } from "../watch/cells.ts";
import { CELL_STRIDE, IMPAIRED, type SessionTable, WATCHING } from "../watch/sessions.ts";
import type { Groups, OutsideCounts } from "./groups.ts";

/** Sums of a cell's sessions. */
export interface CellSums {
  rebufferMs: number;
  playedMs: number;
  /** When its impaired sessions began to be, in no order; a part of them if they are many. */
  readonly sinceMs: number[];
}

/** A cell to count, and the flags of the sessions that are counted. */
export interface AskedCell {
  readonly cell: number;
  readonly ofFlag: number;
  readonly impairedFlag: number;
}

/** A cell, and the flag of the sessions that are counted. */
interface FlaggedCell {
  readonly cell: number;
  readonly flag: number;
}

/** Onset times kept a cell: enough for a quantile. */
const MAX_ONSETS = 2_000;

/** Passes over the sessions of a table. */
export class Passes {
  /** By cell: 1 + its place among those asked for, 0 for the others. */
  readonly #places: Int32Array;
  /** 1 for the outer cells of the sums that are being made. */
  readonly #isOuter: Uint8Array;

  constructor(readonly sessions: SessionTable) {
    this.#places = new Int32Array(sessions.cells.limits.cells);
    this.#isOuter = new Uint8Array(sessions.cells.limits.cells);
  }

  /**
   * The sessions of each cell that are in no group: how many, and the impaired of them.
   *
   * The impaired are counted first, over the impaired sessions alone; the whole then, of those
   * cells alone of which `isWorth` says that their impaired matter. Of the others `of` is 0.
   *
   * @param asked Cells, and the flags that make a session one of the whole and an impaired one.
   * @param isWorth Called with the place of a cell in `asked` and its impaired sessions.
   */
  outside(
    asked: readonly AskedCell[],
    groups: Groups,
    isWorth: (place: number, impaired: number) => boolean,
  ): OutsideCounts[] {
    const counts = asked.map((): OutsideCounts => ({ of: 0, impaired: 0 }));
    // A group on everything leaves nobody outside.
    if (groups.is[ALL] === 1) return counts;
    const impaired = this.#countOutside(
      asked.map(({ cell, impairedFlag }) => ({ cell, flag: impairedFlag })),
      groups,
    );
    for (const [i, count] of counts.entries()) count.impaired = impaired[i] ?? 0;
    const left = [...counts.keys()].filter((i) => isWorth(i, impaired[i] ?? 0));
    const of = this.#countOutside(
      left.map((i) => ({ cell: asked[i]?.cell ?? ALL, flag: asked[i]?.ofFlag ?? 0 })),
      groups,
    );
    for (const [place, i] of left.entries()) {
      const count = counts[i];
      if (count !== undefined) count.of = of[place] ?? 0;
    }
    return counts;
  }

  // Sessions with the flag that are in the cell and in no group.
  #countOutside(asked: readonly FlaggedCell[], groups: Groups): Int32Array {
    const counts = new Int32Array(asked.length);
    if (asked.length === 0) return counts;
    const cells = asked.map(({ cell }) => cell);
    const wanted = Uint8Array.from([0, ...asked.map(({ flag }) => flag)]);
    const any = wanted.reduce((flags, flag) => flags | flag, 0);
    this.#mark(cells);
    const { flags, cellIds, end } = this.sessions;
    const places = this.#places;
    const placeOfAll = places[ALL] ?? 0;
    const groupSlots = slotsOf(groups.kinds);
    const slots = this.#slotsOf(cells);
    for (let row = 0; row < end; row++) {
      const flag = flags[row] ?? 0;
      if ((flag & any) === 0) continue;
      const from = row * CELL_STRIDE;
      if (isInAny(cellIds, from, groupSlots, groups.is)) continue;
      if (flag & (wanted[placeOfAll] ?? 0)) {
        counts[placeOfAll - 1] = (counts[placeOfAll - 1] ?? 0) + 1;
      }
      for (let i = 0; i < slots.length; i++) {
        const cell = cellIds[from + (slots[i] ?? 0)] ?? -1;
        const place = cell < 0 ? 0 : places[cell] ?? 0;
        if (flag & (wanted[place] ?? 0)) counts[place - 1] = (counts[place - 1] ?? 0) + 1;
      }
    }
    this.#unmark(cells);
    return counts;
  }

  /** Sums of the sessions of each of `cells`. */
  sums(cells: ReadonlySet<number>, nowMs: number): Map<number, CellSums> {
    const asked = [...cells];
    const sums = asked.map((): CellSums => ({ rebufferMs: 0, playedMs: 0, sinceMs: [] }));
    if (asked.length > 0) {
      this.#mark(asked);
      // A session of a cell is one of its parents too: in no outer cell, it is in none.
      const outer = asked.filter((cell) => !this.#hasMarkedParent(cell));
      for (const cell of outer) this.#isOuter[cell] = 1;
      this.#sum(asked, this.#slotsOf(outer), sums, nowMs);
      for (const cell of outer) this.#isOuter[cell] = 0;
      this.#unmark(asked);
    }
    return new Map(sums.map((sum, i) => [asked[i] ?? ALL, sum]));
  }

  #sum(
    asked: readonly number[],
    outerSlots: Int32Array,
    sums: readonly CellSums[],
    nowMs: number,
  ): void {
    const { flags, cellIds, sinceMs, history, end } = this.sessions;
    const places = this.#places;
    const placeOfAll = places[ALL] ?? 0;
    const slots = this.#slotsOf(asked);
    const now32 = nowMs >>> 0;
    const played = new Float64Array(asked.length + 1);
    const rebuffered = new Float64Array(asked.length + 1);
    for (let row = 0; row < end; row++) {
      const flag = flags[row] ?? 0;
      const from = row * CELL_STRIDE;
      if ((flag & WATCHING) === 0) continue;
      if (placeOfAll === 0 && !isInAny(cellIds, from, outerSlots, this.#isOuter)) continue;
      const playedMs = history.playedWithin60s(row, now32);
      const rebufferMs = history.stalledWithin(row, now32, 60_000);
      for (let i = -1; i < slots.length; i++) {
        const cell = i < 0 ? ALL : cellIds[from + (slots[i] ?? 0)] ?? -1;
        const place = cell < 0 ? 0 : places[cell] ?? 0;
        if (place === 0) continue;
        played[place] = (played[place] ?? 0) + playedMs;
        rebuffered[place] = (rebuffered[place] ?? 0) + rebufferMs;
        if ((flag & IMPAIRED) !== 0) addOnset(sums[place - 1], sinceMs[row] ?? nowMs);
      }
    }
    for (const [i, sum] of sums.entries()) {
      sum.playedMs = played[i + 1] ?? 0;
      sum.rebufferMs = rebuffered[i + 1] ?? 0;
    }
  }

  #hasMarkedParent(cell: number): boolean {
    const { regionParent, otherParent } = this.sessions.cells;
    const isMarked = (parent = -1) => parent >= 0 && (this.#places[parent] ?? 0) > 0;
    return isMarked(regionParent[cell]) || isMarked(otherParent[cell]);
  }

  // Where the rows of sessions have cells of the kinds of `cells`; ALL has no place there.
  #slotsOf(cells: readonly number[]): Int32Array {
    const { kinds } = this.sessions.cells;
    return slotsOf(cells.reduce((bits, cell) => bits | 1 << (kinds[cell] ?? 0), 0));
  }

  #mark(asked: readonly number[]): void {
    for (const [i, cell] of asked.entries()) this.#places[cell] = i + 1;
  }

  #unmark(asked: readonly number[]): void {
    for (const cell of asked) this.#places[cell] = 0;
  }
}

// Of kinds as bits, the places in the rows of sessions.
function slotsOf(kinds: number): Int32Array {
  const slots: number[] = [];
  for (let kind = 1; kind <= CELL_STRIDE; kind++) if (kinds >>> kind & 1) slots.push(kind - 1);
  return Int32Array.from(slots);
}

function isInAny(
  cellIds: Int32Array,
  from: number,
  slots: Int32Array,
  marks: Uint8Array,
): boolean {
  for (let i = 0; i < slots.length; i++) {
    const cell = cellIds[from + (slots[i] ?? 0)] ?? -1;
    if (cell >= 0 && marks[cell] === 1) return true;
  }
  return false;
}

function addOnset(sum: CellSums | undefined, sinceMs: number): void {
  if (sum !== undefined && sum.sinceMs.length < MAX_ONSETS) sum.sinceMs.push(sinceMs);
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
