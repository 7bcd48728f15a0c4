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
 * uncapped, so that a region that always stalls 5 % is known before it is judged.
 *
 * @module
 */
import { ALL, type CellName, type CellTable, COUNT_STRIDE, KINDS } from "../watch/cells.ts";
import { CHANNEL_COUNT, CHANNELS, SIGNAL_OF_CHANNEL, SIGNALS } from "./channels.ts";

/** How long a detector without baselines learns before it opens on less than an outage, in ms. */
export const LEARNING_MS = 120_000;

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

const SILENT_CHANNEL = CHANNELS.length - 1;
const TITLE_REGION = KINDS.indexOf("title_region");

/** A cell and its sums, x and n by channel. */
export interface SavedBaseline {
  readonly cell: CellName;
  readonly sums: readonly number[];
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
  /** Sessions watching at a recent sample that was not left out. */
  readonly audience: Float32Array;
  readonly #kept: Uint8Array;
  readonly #decay: readonly number[];
  #slice = 0;
  #lastMs = -1;

  /** @param isFrozen Whether a cell's channel is in an incident or over its bound. */
  constructor(
    readonly cells: CellTable,
    readonly isFrozen: (cell: number, channel: number) => boolean,
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

  /** Samples a sixtieth of the cells, to be called each second; none while nobody watches. */
  advance(nowMs: number): void {
    const passedMs = this.#lastMs < 0 ? 0 : Math.min(1_000, Math.max(0, nowMs - this.#lastMs));
    this.#lastMs = nowMs;
    if (this.cells.watching(ALL) === 0) return;
    const slices = this.isLearning ? LEARNING_SLICES : SLICES;
    this.learnedMs = Math.min(LEARNING_MS, this.learnedMs + passedMs);
    this.#slice = (this.#slice + 1) % slices;
    for (let cell = this.#slice; cell < this.cells.end; cell += slices) {
      if (this.cells.has(cell)) this.#sample(cell);
    }
  }

  /** Takes the level of `channel` in `cell` as its normal, at once. */
  adopt(cell: number, channel: number, share: number): void {
    const at = cell * CHANNEL_COUNT + channel;
    const weight = Math.max(this.#n[at] ?? 0, 10 * this.#prior(channel));
    this.#n[at] = weight;
    this.#x[at] = share * weight;
    this.#refresh(cell, channel);
  }

  /** The baselines that matter, to be loaded by another process. */
  snapshot(): BaselineSnapshot {
    const saved: SavedBaseline[] = [];
    for (let cell = 0; cell < this.cells.end; cell++) {
      if (!this.cells.has(cell) || !this.#isWorthSaving(cell)) continue;
      const sums: number[] = [];
      for (let at = cell * CHANNEL_COUNT; at < (cell + 1) * CHANNEL_COUNT; at++) {
        sums.push(rounded(this.#x[at] ?? 0), rounded(this.#n[at] ?? 0));
      }
      saved.push({ cell: this.cells.name(cell), sums });
    }
    return { v: 1, learnedMs: this.learnedMs, cells: saved };
  }

  /** Loads what {@link snapshot} gave. */
  load(snapshot: BaselineSnapshot, nowMs: number): void {
    this.learnedMs = Math.max(this.learnedMs, snapshot.learnedMs);
    // Parents first, so that a child's baseline finds its parent's.
    const rank = ({ cell }: SavedBaseline) => KINDS.indexOf(cell.kind);
    for (const { cell: name, sums } of [...snapshot.cells].sort((a, b) => rank(a) - rank(b))) {
      const cell = this.cells.named(name, nowMs, true);
      if (cell < 0) continue;
      for (let channel = 0; channel < CHANNEL_COUNT; channel++) {
        const at = cell * CHANNEL_COUNT + channel;
        this.#x[at] = sums[2 * channel] ?? 0;
        this.#n[at] = sums[2 * channel + 1] ?? 0;
        this.#refresh(cell, channel);
      }
      this.#keepIfWorth(cell);
    }
  }

  #reset(cell: number): void {
    const from = cell * CHANNEL_COUNT;
    this.#x.fill(0, from, from + CHANNEL_COUNT);
    this.#n.fill(0, from, from + CHANNEL_COUNT);
    this.#kept[cell] = 0;
    this.audience[cell] = 0;
    for (let channel = 0; channel < CHANNEL_COUNT; channel++) this.#refresh(cell, channel);
  }

  #sample(cell: number): void {
    const decay = this.isLearning ? 1 : this.#decay[this.cells.kinds[cell] ?? 0] ?? 1;
    for (let channel = 0; channel < CHANNEL_COUNT; channel++) {
      const at = cell * CHANNEL_COUNT + channel;
      this.#x[at] = (this.#x[at] ?? 0) * decay;
      this.#n[at] = (this.#n[at] ?? 0) * decay;
      this.#add(cell, channel, at);
      this.#refresh(cell, channel);
    }
    this.#keepIfWorth(cell);
  }

  #add(cell: number, channel: number, at: number): void {
    const { impaired, of, outageShare } = channelOf(channel);
    const n = this.cells.counts[cell * COUNT_STRIDE + of] ?? 0;
    if (n === 0) return;
    const x = this.cells.counts[cell * COUNT_STRIDE + impaired] ?? 0;
    if (channel === SILENT_CHANNEL && x < n / 2) this.audience[cell] = n;
    if (this.isLearning ? x > outageShare * n : this.isFrozen(cell, channel)) return;
    const cap = this.isLearning ? n : 2 * n * (this.share[at] ?? 0) + 2;
    this.#x[at] = (this.#x[at] ?? 0) + Math.min(x, cap);
    this.#n[at] = (this.#n[at] ?? 0) + n;
  }

  #refresh(cell: number, channel: number): void {
    const at = cell * CHANNEL_COUNT + channel;
    const floor = SIGNALS[SIGNAL_OF_CHANNEL[channel] ?? 0]?.floor ?? 0;
    const prior = this.#prior(channel);
    const up = cell === ALL ? floor : this.share[this.#parent(cell) * CHANNEL_COUNT + channel] ?? 0;
    const share = ((this.#x[at] ?? 0) + prior * up) / ((this.#n[at] ?? 0) + prior);
    this.share[at] = Math.max(floor, share);
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

/** The channel with this number. */
export function channelOf(channel: number) {
  const found = CHANNELS[channel];
  if (found === undefined) throw new RangeError(`there is no channel ${channel}`);
  return found;
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
