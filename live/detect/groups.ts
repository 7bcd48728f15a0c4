/**
 * The groups: cells that open incidents explain, and which cells they overlap with in part.
 *
 * A group and a cell that fix values of no common dimension overlap in part, unless the group is
 * everything; a group that fixes only what the cell fixes too contains it or is apart from it; and
 * otherwise there is one common dimension, and they overlap in part if its value is the same. So
 * the values of the groups by kind and dimension tell, however many groups there are.
 *
 * @module
 */
import { ALL, type CellTable, COUNT_STRIDE, DIMENSIONS, KIND_COUNT } from "../watch/cells.ts";
import { FIRST_DIMENSION, KINDS, SECOND_DIMENSION } from "../watch/cells.ts";
import { overlap, valueOf } from "./relation.ts";

/** Group kinds that are in part in every cell of a kind, by cell kind, as bits. */
const ALWAYS = byKinds((group, cell) => group !== ALL && common(group, cell).length === 0);
/** The common dimension that decides about a group kind and a cell kind; −1: never in part. */
const DECIDING = Array.from(
  { length: KIND_COUNT },
  (_, cell) =>
    Array.from({ length: KIND_COUNT }, (_, group) => {
      const both = common(group, cell);
      return both.length === 0 || both.length === dimensionsOf(group).length ? -1 : both[0] ?? -1;
    }),
);

const REGION_KIND = KINDS.indexOf("region");
/** The kind that a kind and a region make, −1 is none. */
const IN_REGION = KINDS.map((kind) =>
  KINDS.findIndex((each) => each === `region_${kind}` || each === `${kind}_region`)
);
/** Groups above which their sum is not worth the time. */
const MAX_SUMMED = 64;

/** A set of groups. */
export class Groups {
  /** 1 for the cells that are groups. */
  readonly is: Uint8Array;
  readonly cells: number[] = [];
  /** Kinds of the groups, as bits. */
  kinds = 0;
  /** The groups' values, by kind and dimension. */
  readonly #values = Array.from(
    { length: KIND_COUNT * DIMENSIONS.length },
    () => new Set<number>(),
  );

  constructor(readonly table: CellTable) {
    this.is = new Uint8Array(table.limits.cells);
  }

  /** Adds a group; twice is once. */
  add(cell: number): void {
    if (this.is[cell] === 1) return;
    this.is[cell] = 1;
    this.cells.push(cell);
    const kind = this.table.kinds[cell] ?? 0;
    this.kinds |= 1 << kind;
    for (const dimension of dimensionsOf(kind)) {
      this.#valuesOf(kind, dimension)?.add(valueOf(this.table, cell, dimension));
    }
  }

  /** Removes all. */
  clear(): void {
    for (const cell of this.cells) this.is[cell] = 0;
    this.cells.length = 0;
    if (this.kinds !== 0) { for (const values of this.#values) values.clear(); }
    this.kinds = 0;
  }

  /** Whether some group has sessions of `cell` and does not contain it. */
  arePartly(cell: number): boolean {
    const kind = this.table.kinds[cell] ?? 0;
    if ((this.kinds & (ALWAYS[kind] ?? 0)) !== 0) return true;
    const deciding = DECIDING[kind];
    for (let group = 0; group < KIND_COUNT; group++) {
      const dimension = deciding?.[group] ?? -1;
      if (dimension < 0 || (this.kinds >>> group & 1) === 0) continue;
      const value = valueOf(this.table, cell, dimension);
      if (this.#valuesOf(group, dimension)?.has(value)) return true;
    }
    return false;
  }

  /**
   * Sessions of `cell` that are in no group, at least: n − Σ |cell ∩ group|, which counts those in
   * several groups several times. `count` is the number of the count, as in `COUNTS`.
   */
  outsideAtLeast(cell: number, count: number): number {
    if (this.cells.length > MAX_SUMMED) return 0;
    let least = this.table.counts[cell * COUNT_STRIDE + count] ?? 0;
    for (const group of this.cells) least -= this.#commonAtMost(group, cell, count);
    return Math.max(0, least);
  }

  // |cell ∩ group| if that is a cell too, as a title and a region make one; else at most.
  #commonAtMost(group: number, cell: number, count: number): number {
    const { table } = this;
    const of = (each: number) => table.counts[each * COUNT_STRIDE + count] ?? 0;
    const lies = overlap(table, group, cell);
    if (lies !== "partly") return lies === "apart" ? 0 : of(cell);
    const least = Math.min(of(group), of(cell));
    const both = intersection(table, group, cell);
    // In a full table a cell may lack sessions.
    return both === undefined || table.refused > 0 ? least : both < 0 ? 0 : of(both);
  }

  #valuesOf(kind: number, dimension: number): Set<number> | undefined {
    return this.#values[kind * DIMENSIONS.length + dimension];
  }
}

// The cell that a region and a title, CDN or build make, −1 if nobody is in both; undefined for
// others.
function intersection(table: CellTable, one: number, other: number): number | undefined {
  const [region, slice] = table.kinds[one] === REGION_KIND ? [one, other] : [other, one];
  const kind = IN_REGION[table.kinds[slice] ?? 0] ?? -1;
  if (table.kinds[region] !== REGION_KIND || kind < 0) return undefined;
  return table.find(kind, table.a[slice] ?? -1, table.a[region] ?? -1);
}

function byKinds(isSo: (group: number, cell: number) => boolean): number[] {
  return Array.from({ length: KIND_COUNT }, (_, cell) => {
    let bits = 0;
    for (let group = 0; group < KIND_COUNT; group++) if (isSo(group, cell)) bits |= 1 << group;
    return bits;
  });
}

function dimensionsOf(kind: number): number[] {
  return [FIRST_DIMENSION[kind] ?? -1, SECOND_DIMENSION[kind] ?? -1].filter((each) => each >= 0);
}

function common(group: number, cell: number): number[] {
  const of = dimensionsOf(cell);
  return dimensionsOf(group).filter((dimension) => of.includes(dimension));
}
