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
const MAX_GROUPS = 64;

/** Sessions of a cell that are in no group, and the impaired of them. */
export interface OutsideCounts {
  of: number;
  impaired: number;
}

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

  #disjoint: readonly number[] | undefined;

  constructor(readonly table: CellTable) {
    this.is = new Uint8Array(table.limits.cells);
  }

  /** Adds a group; twice is once. */
  add(cell: number): void {
    if (this.is[cell] === 1) return;
    this.#disjoint = undefined;
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
    this.#disjoint = undefined;
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
    if (this.cells.length > MAX_GROUPS) return 0;
    const { table } = this;
    let least = this.#count(cell, count);
    for (const group of this.cells) {
      const both = intersection(table, group, cell);
      least -= both === undefined
        ? Math.min(this.#count(group, count), this.#count(cell, count))
        : this.#count(both, count);
    }
    return Math.max(0, least);
  }

  /**
   * Sessions of `cell` that are in no group, if the counts of cells tell: n − Σ |cell ∩ group| over
   * groups that share no session, if each intersection is a cell.
   */
  outsideOf(cell: number, of: number, impaired: number): OutsideCounts | undefined {
    const disjoint = this.#disjoint ??= this.#findDisjoint();
    const outside = { of: this.#count(cell, of), impaired: this.#count(cell, impaired) };
    for (const group of disjoint) {
      const both = intersection(this.table, group, cell);
      if (both === undefined) return undefined;
      outside.of -= this.#count(both, of);
      outside.impaired -= this.#count(both, impaired);
    }
    return disjoint.length === 0 ? undefined : outside;
  }

  #count(cell: number, count: number): number {
    return cell < 0 ? 0 : this.table.counts[cell * COUNT_STRIDE + count] ?? 0;
  }

  // The groups that are in no other, if no two of them share sessions; else none.
  #findDisjoint(): readonly number[] {
    const { table, cells } = this;
    if (cells.length > MAX_GROUPS) return [];
    const outer = cells.filter((cell) =>
      !cells.some((other) => other !== cell && table.contains(other, cell))
    );
    const areApart = outer.every((cell, i) =>
      outer.every((other, j) => i === j || overlap(table, other, cell) === "apart")
    );
    return areApart ? outer : [];
  }

  #valuesOf(kind: number, dimension: number): Set<number> | undefined {
    return this.#values[kind * DIMENSIONS.length + dimension];
  }
}

// The cell of the sessions in both, −1 if nobody is; undefined if they are no cell.
function intersection(table: CellTable, group: number, cell: number): number | undefined {
  if (table.contains(group, cell)) return cell;
  if (table.contains(cell, group)) return group;
  if (overlap(table, group, cell) === "apart") return -1;
  const [region, slice] = table.kinds[group] === REGION_KIND ? [group, cell] : [cell, group];
  const kind = IN_REGION[table.kinds[slice] ?? 0] ?? -1;
  // In a table that was full a cell may lack sessions.
  if (table.kinds[region] !== REGION_KIND || kind < 0 || table.refused > 0) return undefined;
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
