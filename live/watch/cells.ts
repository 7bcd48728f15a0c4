/**
 * Cells: groups of viewer sessions that share values of some dimensions, and how many of them are
 * watching, impaired, starting, overdue.
 *
 * A session is in at most ten cells, one of each kind. A heartbeat changes a session's flags, and
 * the counts of its cells follow: O(1), exact.
 *
 * Bounded: a cell without sessions that nothing keeps is freed at once. At capacity a session is
 * counted in the cells that exist and not in a new one ({@link CellTable.refused}).
 *
 * Pure.
 *
 * @module
 */
import { CellIndex } from "./cells_index.ts";
import { Interner, OTHER } from "./intern.ts";

/** The kinds by number: `KINDS[1]` is `region`. Parents come before their children. */
export const KINDS = [
  "all",
  "region",
  "title",
  "cdn",
  "build",
  "title_region",
  "region_cdn",
  "region_isp",
  "region_build",
  "region_model",
] as const;
/** The dimensions that a cell fixes. */
export type CellKind = typeof KINDS[number];

/** A cell by the values that it fixes; text from devices is printable, at most 64 code points. */
export interface CellName {
  readonly kind: CellKind;
  readonly region?: string;
  readonly title?: string;
  readonly cdn?: string;
  readonly isp?: string;
  readonly build?: string;
  readonly model?: string;
}

/** Kinds of which each session has at most one cell of its own. */
export const KIND_COUNT = KINDS.length;

/** The dimensions by number. */
export const DIMENSIONS = ["region", "title", "cdn", "build", "isp", "model"] as const;
/** A dimension. */
export type Dimension = typeof DIMENSIONS[number];
/** Number of the dimension region. */
export const REGION = 0;
/** Number of the dimension title. */
export const TITLE = 1;
/** Number of the dimension CDN. */
export const CDN = 2;
/** Number of the dimension build. */
export const BUILD = 3;
/** Number of the dimension ISP. */
export const ISP = 4;
/** Number of the dimension model. */
export const MODEL = 5;

/** The first dimension that each kind fixes, by number; −1 is none. */
export const FIRST_DIMENSION = [-1, REGION, TITLE, CDN, BUILD, TITLE, CDN, ISP, BUILD, MODEL];
/** The second one: the region, for what lies in a region. */
export const SECOND_DIMENSION = [-1, -1, -1, -1, -1, REGION, REGION, REGION, REGION, REGION];
/** The kind of the parent that fixes only the first dimension; −1 is none. */
const FIRST_PARENT = [-1, -1, -1, -1, -1, 2, 3, -1, 4, -1];
const SECOND_PARENT = 1;

/** Counts of a cell, in this order; bit i of a session's flags adds to count i. */
export const COUNTS = [
  "watching",
  "stalled10",
  "stalled20",
  "stalled60",
  "starts",
  "stuck",
  "overdue",
  "steady",
];
const OVERDUE_COUNT = COUNTS.indexOf("overdue");
const STEADY_COUNT = COUNTS.indexOf("steady");
/** Width of a row of counts; a cache line holds two. */
export const COUNT_STRIDE = 8;

/** The cell of all sessions. */
export const ALL = 0;

/** Maximum numbers of values and cells. */
export interface CellLimits {
  readonly cells: number;
  readonly region: number;
  readonly title: number;
  readonly cdn: number;
  readonly build: number;
  readonly isp: number;
  readonly model: number;
}

/** Limits that hold the design load four times over. */
export const DEFAULT_CELL_LIMITS: CellLimits = {
  cells: 500_000,
  region: 512,
  title: 100_000,
  cdn: 256,
  build: 4_096,
  isp: 4_096,
  model: 4_096,
};

/** Length of the blocks that departures are counted in, in ms. */
const DEPARTED_BLOCK_MS = 60_000;

/** The cells and their counts. */
export class CellTable {
  /** Times that a session could not be counted in a cell because the table was full. */
  refused = 0;
  /** Cells in use. */
  size = 1;
  /** One more than the highest cell number ever used. */
  end = 1;
  /** The counts of cell `c` stand from `c * COUNT_STRIDE`. */
  readonly counts: Int32Array;
  readonly kinds: Uint8Array;
  /** Values of the first and second dimension. */
  readonly a: Int32Array;
  readonly b: Int32Array;
  /** The parent that fixes the region, and the one that fixes the other dimension; −1 is none. */
  readonly regionParent: Int32Array;
  readonly otherParent: Int32Array;
  readonly interners: readonly Interner[];
  /** Sessions that said that they end, in this block and in the one before. */
  readonly #departed: Int32Array;
  readonly #departedBefore: Int32Array;
  readonly #block: Uint16Array;
  /** Steady sessions that said that they end since the cell was made. */
  readonly #departures: Int32Array;
  /** Called with each new cell. */
  onCreate: (cell: number) => void = () => {};

  readonly #used: Uint8Array;
  readonly #holds: Int32Array;
  readonly #free: number[] = [];
  readonly #index: CellIndex;

  constructor(readonly limits: CellLimits = DEFAULT_CELL_LIMITS) {
    const { cells } = limits;
    this.counts = new Int32Array(cells * COUNT_STRIDE);
    this.#departed = new Int32Array(limits.cells);
    this.#departedBefore = new Int32Array(limits.cells);
    this.#block = new Uint16Array(limits.cells);
    this.#departures = new Int32Array(limits.cells);
    this.kinds = new Uint8Array(cells);
    this.a = new Int32Array(cells);
    this.b = new Int32Array(cells);
    this.regionParent = new Int32Array(cells).fill(-1);
    this.otherParent = new Int32Array(cells).fill(-1);
    this.#used = new Uint8Array(cells);
    this.#holds = new Int32Array(cells);
    this.interners = DIMENSIONS.map((dimension) => new Interner(limits[dimension]));
    this.#index = new CellIndex(cells, this.kinds, this.a, this.b);
    this.#used[ALL] = 1;
    this.#holds[ALL] = 1;
    this.#index.add(ALL);
  }

  /** The interner of a dimension. */
  interner(dimension: number): Interner {
    const interner = this.interners[dimension];
    if (interner === undefined) throw new RangeError(`there is no dimension ${dimension}`);
    return interner;
  }

  /** Whether `cell` is in use. */
  has(cell: number): boolean {
    return this.#used[cell] === 1;
  }

  /** The cell with this key, or −1. */
  find(kind: number, a: number, b: number): number {
    return this.#index.find(kind, a, b);
  }

  /** The cell with this key, made if there is none; −1 when the table is full. */
  cellOf(kind: number, a: number, b: number): number {
    const known = this.#index.find(kind, a, b);
    return known >= 0 ? known : this.#create(kind, a, b);
  }

  /** Sessions in `cell`. */
  watching(cell: number): number {
    return this.counts[cell * COUNT_STRIDE] ?? 0;
  }

  /** Sessions in `cell` that are not overdue. */
  heard(cell: number): number {
    const at = cell * COUNT_STRIDE;
    return (this.counts[at] ?? 0) - (this.counts[at + OVERDUE_COUNT] ?? 0);
  }

  /** Sessions in `cell` that would be missed. */
  steady(cell: number): number {
    return this.counts[cell * COUNT_STRIDE + STEADY_COUNT] ?? 0;
  }

  /** Adds the difference of a session's flags to the counts of `cell`. */
  count(cell: number, before: number, after: number): void {
    const at = cell * COUNT_STRIDE;
    for (let changed = before ^ after, i = 0; changed !== 0; changed >>>= 1, i++) {
      if (changed & 1) this.counts[at + i] = (this.counts[at + i] ?? 0) + ((after >>> i & 1) || -1);
    }
  }

  /** Notes that a session of `cell`, steady or not, said that it ends. */
  depart(cell: number, nowMs: number, isSteady: boolean): void {
    this.#turnBlock(cell, nowMs);
    if (isSteady) this.#departures[cell] = (this.#departures[cell] ?? 0) + 1;
    this.#departed[cell] = (this.#departed[cell] ?? 0) + 1;
  }

  /** Sessions of `cell` that said so in the last one to two minutes. */
  departed(cell: number, nowMs: number): number {
    this.#turnBlock(cell, nowMs);
    return (this.#departed[cell] ?? 0) + (this.#departedBefore[cell] ?? 0);
  }

  /** Steady sessions of `cell` that ever said so: only differences matter. */
  departures(cell: number): number {
    return this.#departures[cell] ?? 0;
  }

  #turnBlock(cell: number, nowMs: number): void {
    const block = Math.floor(nowMs / DEPARTED_BLOCK_MS) & 0xffff;
    const blocks = (block - (this.#block[cell] ?? 0)) & 0xffff;
    // A receipt may be ahead of the second that is decided about.
    if (blocks === 0 || blocks === 0xffff) return;
    this.#departedBefore[cell] = blocks === 1 ? this.#departed[cell] ?? 0 : 0;
    this.#departed[cell] = 0;
    this.#block[cell] = block;
  }

  /** Keeps `cell` while it has no sessions. */
  hold(cell: number): void {
    this.#holds[cell] = (this.#holds[cell] ?? 0) + 1;
  }

  /** Undoes one {@link hold}. */
  unhold(cell: number): void {
    this.#holds[cell] = (this.#holds[cell] ?? 0) - 1;
    this.freeIfUnused(cell);
  }

  /** Frees `cell` if it has no sessions and nothing holds it, and then its parents likewise. */
  freeIfUnused(cell: number): void {
    if (this.#holds[cell] !== 0 || this.watching(cell) !== 0 || this.#used[cell] === 0) return;
    const kind = this.kinds[cell] ?? 0;
    this.#index.remove(cell);
    this.#used[cell] = 0;
    this.size -= 1;
    this.#free.push(cell);
    this.#keepValues(kind, this.a[cell] ?? 0, this.b[cell] ?? 0, false);
    for (const parent of [this.regionParent[cell] ?? -1, this.otherParent[cell] ?? -1]) {
      if (parent >= 0) this.unhold(parent);
    }
  }

  /** The name of `cell`, for display. */
  name(cell: number): CellName {
    const kind = this.kinds[cell] ?? 0;
    const out: { kind: CellKind } & Partial<Record<Dimension, string>> = {
      kind: KINDS[kind] ?? "all",
    };
    const first = FIRST_DIMENSION[kind] ?? -1;
    const second = SECOND_DIMENSION[kind] ?? -1;
    if (second >= 0) out[DIMENSIONS[second] ?? "region"] = this.#valueName(second, this.b[cell]);
    if (first >= 0) out[DIMENSIONS[first] ?? "region"] = this.#valueName(first, this.a[cell]);
    return out;
  }

  /** The cell with this name, or −1; with `create` it is made if there is room. */
  named(name: CellName, nowMs: number, create: boolean): number {
    const kind = KINDS.indexOf(name.kind);
    const a = this.#valueOf(name, FIRST_DIMENSION[kind] ?? -1, nowMs, create);
    const b = this.#valueOf(name, SECOND_DIMENSION[kind] ?? -1, nowMs, create);
    if (kind < 0 || a === undefined || b === undefined) return -1;
    return create ? this.cellOf(kind, a, b) : this.find(kind, a, b);
  }

  /** Whether a value of `cell` lost its place to one with more viewers. */
  isDisplaced(cell: number): boolean {
    const kind = this.kinds[cell] ?? 0;
    const first = FIRST_DIMENSION[kind] ?? -1;
    const second = SECOND_DIMENSION[kind] ?? -1;
    return (first >= 0 && this.interner(first).isDisplaced(this.a[cell] ?? 0)) ||
      (second >= 0 && this.interner(second).isDisplaced(this.b[cell] ?? 0));
  }

  /** Whether every session of `inner` is in `outer`. */
  contains(outer: number, inner: number): boolean {
    return outer === ALL || outer === inner || this.regionParent[inner] === outer ||
      this.otherParent[inner] === outer;
  }

  #valueName(dimension: number, id = 0): string {
    return this.interner(dimension).name(id);
  }

  #valueOf(
    name: CellName,
    dimension: number,
    nowMs: number,
    create: boolean,
  ): number | undefined {
    if (dimension < 0) return 0;
    const value = name[DIMENSIONS[dimension] ?? "region"];
    if (value === undefined) return undefined;
    const interner = this.interner(dimension);
    const id = create ? interner.intern(value, nowMs) : interner.find(value);
    // One of those without a number is not all of them.
    return id === OTHER && value !== interner.name(OTHER) ? undefined : id;
  }

  #create(kind: number, a: number, b: number): number {
    const regionParent = (SECOND_DIMENSION[kind] ?? -1) < 0 ? -1 : this.cellOf(SECOND_PARENT, b, 0);
    const otherKind = FIRST_PARENT[kind] ?? -1;
    const otherParent = otherKind < 0 ? -1 : this.cellOf(otherKind, a, 0);
    const cell = this.#free.pop() ?? (this.end < this.limits.cells ? this.end++ : -1);
    if (cell < 0) {
      this.refused += 1;
      return -1;
    }
    this.size += 1;
    this.#used[cell] = 1;
    this.#holds[cell] = 0;
    this.kinds[cell] = kind;
    this.a[cell] = a;
    this.b[cell] = b;
    this.#departed[cell] = 0;
    this.#departedBefore[cell] = 0;
    this.#block[cell] = 0;
    this.counts.fill(0, cell * COUNT_STRIDE, (cell + 1) * COUNT_STRIDE);
    this.#index.add(cell);
    this.#keepValues(kind, a, b, true);
    this.regionParent[cell] = regionParent;
    this.otherParent[cell] = otherParent;
    if (regionParent >= 0) this.hold(regionParent);
    if (otherParent >= 0) this.hold(otherParent);
    this.onCreate(cell);
    return cell;
  }

  #keepValues(kind: number, a: number, b: number, keep: boolean): void {
    const first = FIRST_DIMENSION[kind] ?? -1;
    const second = SECOND_DIMENSION[kind] ?? -1;
    if (first >= 0) keepValue(this.interner(first), a, keep);
    if (second >= 0) keepValue(this.interner(second), b, keep);
  }
}

function keepValue(interner: Interner, id: number, keep: boolean): void {
  if (keep) interner.keep(id);
  else interner.unkeep(id);
}
