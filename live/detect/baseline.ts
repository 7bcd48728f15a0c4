/**
 * The learned share of impaired sessions of each cell and channel.
 *
 * Once a minute a cell's counts are added to decaying sums: x impaired of n. The baseline is
 *
 *     p = max(floor, (Σx + K · p_up) / (Σn + K))
 *
 * the posterior mean of a beta prior with the mean of the parent and the weight K (shrinkage): a
 * cell with little history has its region's baseline, a region that of all. The sums have a
 * half-life of an hour, six for a title in a region, which has fewer viewers.
 *
 * A sample is capped at 2np + 2 impaired, and left out while the cell is over its bound or in an
 * incident, so that an outage does not become normal. In the first two minutes of a detector that
 * has loaded nothing samples come every five seconds and, up to `outageShare` of the channel,
 * uncapped, so that a region that always stalls 5 % is known before it is judged. Sessions of an
 * incident that is open then are left out of its parents' samples too, and of those of the cells
 * that it overlaps with.
 *
 * A fault below `outageShare` in those two minutes is learned as normal: it opens nothing, and
 * until it is forgotten only twice its share does. So in the first hour after them a sample below
 * half of a baseline counts {@link FORGET_WEIGHT} times, if {@link FORGET_EXPECTED} impaired or more
 * were expected: a level that is over falls by half in 6 min, and not in 24. One that is still there
 * stays.
 *
 * @module
 */
import { ALL, type CellName, type CellTable, COUNT_STRIDE, KINDS } from "../watch/cells.ts";
import {
  CHANNEL_COUNT,
  channelOf,
  SIGNAL_OF_CHANNEL,
  SIGNALS,
  SILENT_CHANNEL,
} from "./channels.ts";
import type { OutsideCounts } from "./groups.ts";

/** How long a detector without baselines learns before it opens on less than an outage, in ms. */
export const LEARNING_MS = 120_000;

/** How long after that what was learned is forgotten faster, in ms. */
const FORGET_MS = 3_600_000;
const FORGET_WEIGHT = 4;
/** Impaired sessions of which half or fewer are seldom chance: of 20, once in a hundred samples. */
const FORGET_EXPECTED = 20;
const SLICES = 60;
const LEARNING_SLICES = 5;
const MINUTES_HALF_LIFE = 60;
const MINUTES_HALF_LIFE_TITLE = 360;
/** Σn above which a cell without sessions keeps its baseline. */
const KEEP_WEIGHT = 60;
/** Part of the table in use above which cells without sessions are given up. */
const FULL_PART = 0.9;
/** Difference to the parent's baseline, relative, without which a title's is not saved. */
const SAVED_DIFFERENCE = 0.25;
const SAVED_WEIGHT = 500;

const REGION = KINDS.indexOf("region");
const TITLE_REGION = KINDS.indexOf("title_region");

/** A cell and its sums: x and n by channel. */
export interface SavedBaseline {
  readonly cell: CellName;
  readonly sums: readonly number[];
  /** The sums before a level was adopted, and the number of the adoption. */
  readonly before?: readonly number[];
  readonly by?: number;
}

/** Baselines as JSON. */
export interface BaselineSnapshot {
  readonly v: 1;
  /** Time that was learned, in ms. */
  readonly learnedMs: number;
  readonly cells: readonly SavedBaseline[];
}

/** The baselines of all cells. */
export class Baselines {
  /** Time learned so far, at most {@link LEARNING_MS}. */
  learnedMs = 0;
  /** The baseline of channel c of a cell is at `cell * CHANNEL_COUNT + c`. */
  readonly share: Float32Array;
  readonly #x: Float32Array;
  readonly #n: Float32Array;
  /** Steady sessions at a recent sample that was not left out. */
  readonly audience: Float32Array;
  /** Sessions heard in time at the last three samples, of regions and of all. */
  readonly #heard = new Map<number, number[]>();
  readonly #kept: Uint8Array;
  /** Sums of cells before levels were adopted, x and n by channel, and the newest adoption. */
  readonly #before = new Map<number, { readonly sums: Float32Array; by: number }>();
  readonly #decay: readonly number[];
  #slice = 0;
  #lastMs = -1;
  /** Time left in which what this process learned is forgotten faster, in ms. */
  #forgetMs = 0;

  /**
   * @param isFrozen Whether a cell's channel is in an incident or over its bound.
   * @param unexplained The sessions of a cell's channel that are in no incident, if there are some.
   */
  constructor(
    readonly cells: CellTable,
    readonly isFrozen: (cell: number, channel: number) => boolean,
    readonly unexplained: (cell: number, channel: number) => OutsideCounts | undefined,
  ) {
    const size = cells.limits.cells * CHANNEL_COUNT;
    this.share = new Float32Array(size);
    this.#x = new Float32Array(size);
    this.#n = new Float32Array(size);
    this.audience = new Float32Array(cells.limits.cells);
    this.#kept = new Uint8Array(cells.limits.cells);
    this.#decay = KINDS.map((_, kind) =>
      2 ** (-1 / (kind === TITLE_REGION ? MINUTES_HALF_LIFE_TITLE : MINUTES_HALF_LIFE))
    );
    cells.onCreate = (cell) => this.#reset(cell);
    this.#reset(ALL);
  }

  /** Whether too little is known to tell what is normal. */
  get isLearning(): boolean {
    return this.learnedMs < LEARNING_MS;
  }

  /**
   * Samples a sixtieth of the cells, to be called each second; none while nobody watches. While live
   * `isDeaf`, those that it hears are not the audience.
   */
  advance(nowMs: number, isDeaf: boolean): void {
    const passedMs = this.#lastMs < 0 ? 0 : Math.min(1_000, Math.max(0, nowMs - this.#lastMs));
    this.#lastMs = nowMs;
    if (this.cells.watching(ALL) === 0) return;
    this.#forgetMs = this.isLearning ? FORGET_MS : Math.max(0, this.#forgetMs - passedMs);
    this.learnedMs = Math.min(LEARNING_MS, this.learnedMs + passedMs);
    const slices = this.isLearning ? LEARNING_SLICES : SLICES;
    this.#slice = (this.#slice + 1) % slices;
    for (let cell = this.#slice; cell < this.cells.end; cell += slices) {
      if (this.cells.has(cell)) this.#sample(cell, isDeaf);
    }
  }

  /**
   * Sessions of a region or of all that were heard in time in the last three minutes: the median of
   * three samples, because one may be from the middle of a change.
   */
  heard(cell: number): number {
    const samples = [...this.#heard.get(cell) ?? []].sort((a, b) => a - b);
    return samples[samples.length >> 1] ?? 0;
  }

  /** Takes the level of `channel` in `cell` as its normal at once, until `by` is given up. */
  adopt(cell: number, channel: number, share: number, by: number): void {
    const at = cell * CHANNEL_COUNT + channel;
    const before = this.#before.get(cell);
    if (before === undefined) this.#before.set(cell, { sums: this.#sumsOf(cell), by });
    else before.by = by;
    const weight = Math.max(this.#n[at] ?? 0, 10 * this.#prior(channel));
    this.#n[at] = weight;
    this.#x[at] = share * weight;
    this.#refresh(cell, channel);
  }

  /** The widest cell of each adoption that was not given up, by its number. */
  get adopted(): ReadonlyMap<number, number> {
    const widest = new Map<number, number>();
    for (const [cell, { by }] of this.#before) {
      const known = widest.get(by);
      if (known === undefined || this.cells.contains(cell, known)) widest.set(by, cell);
    }
    return widest;
  }

  /** The baseline of `channel` before a level was adopted in `cell`. */
  shareBefore(cell: number, channel: number): number {
    const sums = this.#before.get(cell)?.sums;
    const at = cell * CHANNEL_COUNT + channel;
    return sums === undefined
      ? this.share[at] ?? 0
      : this.#shareOf(cell, channel, sums[2 * channel] ?? 0, sums[2 * channel + 1] ?? 0);
  }

  /** Gives the cells that adopted a level by `by` their sums of before again. */
  giveUp(by: number): void {
    for (const [cell, before] of this.#before) {
      if (before.by !== by) continue;
      this.#before.delete(cell);
      this.#setSums(cell, before.sums);
    }
    // Parents come first in no order of numbers, so that a child finds its parent's at last.
    for (let cell = 0; cell < this.cells.end; cell++) {
      if (!this.cells.has(cell)) continue;
      for (let channel = 0; channel < CHANNEL_COUNT; channel++) this.#refresh(cell, channel);
    }
  }

  #sumsOf(cell: number): Float32Array {
    const sums = new Float32Array(2 * CHANNEL_COUNT);
    for (let channel = 0; channel < CHANNEL_COUNT; channel++) {
      sums[2 * channel] = this.#x[cell * CHANNEL_COUNT + channel] ?? 0;
      sums[2 * channel + 1] = this.#n[cell * CHANNEL_COUNT + channel] ?? 0;
    }
    return sums;
  }

  #setSums(cell: number, sums: ArrayLike<number>): void {
    for (let channel = 0; channel < CHANNEL_COUNT; channel++) {
      this.#x[cell * CHANNEL_COUNT + channel] = sums[2 * channel] ?? 0;
      this.#n[cell * CHANNEL_COUNT + channel] = sums[2 * channel + 1] ?? 0;
      this.#refresh(cell, channel);
    }
  }

  /** The baselines that matter, to be loaded by another process. */
  snapshot(): BaselineSnapshot {
    const saved: SavedBaseline[] = [];
    for (let cell = 0; cell < this.cells.end; cell++) {
      if (!this.cells.has(cell) || !this.#isWorthSaving(cell)) continue;
      const before = this.#before.get(cell);
      saved.push({
        cell: this.cells.name(cell),
        sums: Array.from(this.#sumsOf(cell), rounded),
        ...(before && { before: Array.from(before.sums, rounded), by: before.by }),
      });
    }
    return { v: 1, learnedMs: this.learnedMs, cells: saved };
  }

  /** Loads what {@link snapshot} gave. */
  load(snapshot: BaselineSnapshot, nowMs: number): void {
    this.learnedMs = Math.max(this.learnedMs, snapshot.learnedMs);
    // Parents first, so that a child's baseline finds its parent's.
    const rank = ({ cell }: SavedBaseline) => KINDS.indexOf(cell.kind);
    for (
      const { cell: name, sums, before, by } of [...snapshot.cells].sort((a, b) =>
        rank(a) - rank(b)
      )
    ) {
      const cell = this.cells.named(name, nowMs, true);
      if (cell < 0) continue;
      this.#setSums(cell, sums);
      if (before && by !== undefined) {
        this.#before.set(cell, { sums: Float32Array.from(before), by });
      }
      this.#keepIfWorth(cell);
    }
  }

  #reset(cell: number): void {
    const from = cell * CHANNEL_COUNT;
    this.#x.fill(0, from, from + CHANNEL_COUNT);
    this.#n.fill(0, from, from + CHANNEL_COUNT);
    this.#kept[cell] = 0;
    this.#before.delete(cell);
    this.audience[cell] = 0;
    this.#heard.delete(cell);
    for (let channel = 0; channel < CHANNEL_COUNT; channel++) this.#refresh(cell, channel);
  }

  #sample(cell: number, isDeaf: boolean): void {
    const decay = this.isLearning ? 1 : this.#decay[this.cells.kinds[cell] ?? 0] ?? 1;
    for (let channel = 0; channel < CHANNEL_COUNT; channel++) {
      const at = cell * CHANNEL_COUNT + channel;
      this.#x[at] = (this.#x[at] ?? 0) * decay;
      this.#n[at] = (this.#n[at] ?? 0) * decay;
      this.#add(cell, channel, at);
      this.#refresh(cell, channel);
    }
    if (!isDeaf && (cell === ALL || this.cells.kinds[cell] === REGION)) {
      this.#heard.set(cell, [this.cells.heard(cell), ...this.#heard.get(cell) ?? []].slice(0, 3));
    }
    this.#keepIfWorth(cell);
  }

  #add(cell: number, channel: number, at: number): void {
    const { impaired, of } = channelOf(channel);
    const n = this.cells.counts[cell * COUNT_STRIDE + of] ?? 0;
    if (n === 0) return;
    const x = this.cells.counts[cell * COUNT_STRIDE + impaired] ?? 0;
    if (channel === SILENT_CHANNEL && x < n / 2) this.audience[cell] = n;
    if (this.isLearning) this.#learn(cell, channel, at);
    else if (!this.isFrozen(cell, channel)) {
      const usual = n * (this.share[at] ?? 0);
      const isOver = this.#forgetMs > 0 && usual >= FORGET_EXPECTED && 2 * x < usual;
      const weight = isOver ? FORGET_WEIGHT : 1;
      this.#x[at] = (this.#x[at] ?? 0) + weight * Math.min(x, 2 * usual + 2);
      this.#n[at] = (this.#n[at] ?? 0) + weight * n;
    }
  }

  #learn(cell: number, channel: number, at: number): void {
    const sample = this.unexplained(cell, channel);
    if (sample === undefined || sample.impaired > channelOf(channel).outageShare * sample.of) {
      return;
    }
    this.#x[at] = (this.#x[at] ?? 0) + sample.impaired;
    this.#n[at] = (this.#n[at] ?? 0) + sample.of;
  }

  #refresh(cell: number, channel: number): void {
    const at = cell * CHANNEL_COUNT + channel;
    this.share[at] = this.#shareOf(cell, channel, this.#x[at] ?? 0, this.#n[at] ?? 0);
  }

  // The baseline that sums and the parent give.
  #shareOf(cell: number, channel: number, x: number, n: number): number {
    const floor = SIGNALS[SIGNAL_OF_CHANNEL[channel] ?? 0]?.floor ?? 0;
    const prior = this.#prior(channel);
    const up = cell === ALL ? floor : this.share[this.#parent(cell) * CHANNEL_COUNT + channel] ?? 0;
    return Math.max(floor, (x + prior * up) / (n + prior));
  }

  #prior(channel: number): number {
    return SIGNALS[SIGNAL_OF_CHANNEL[channel] ?? 0]?.priorWeight ?? 1;
  }

  #parent(cell: number): number {
    return Math.max(ALL, this.cells.regionParent[cell] ?? ALL);
  }

  // A cell that learned something is kept while it is empty, until that has decayed, the
  // table is nearly full, or a value of it has lost its place.
  #keepIfWorth(cell: number): void {
    if (cell === ALL) return;
    const isFull = this.cells.size > FULL_PART * this.cells.limits.cells;
    const keep = !isFull && (this.#n[cell * CHANNEL_COUNT] ?? 0) >= KEEP_WEIGHT &&
      !this.cells.isDisplaced(cell);
    if (keep === (this.#kept[cell] === 1)) return;
    this.#kept[cell] = keep ? 1 : 0;
    if (keep) this.cells.hold(cell);
    else this.cells.unhold(cell);
  }

  #isWorthSaving(cell: number): boolean {
    const from = cell * CHANNEL_COUNT;
    if ((this.#n[from] ?? 0) < SAVED_WEIGHT) return false;
    if (this.cells.kinds[cell] !== TITLE_REGION) return true;
    const parent = this.#parent(cell) * CHANNEL_COUNT;
    for (let channel = 0; channel < CHANNEL_COUNT; channel++) {
      const up = this.share[parent + channel] ?? 0;
      if (Math.abs((this.share[from + channel] ?? 0) - up) > SAVED_DIFFERENCE * up) return true;
    }
    return false;
  }
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
