/**
 * How two cells relate by the values that they fix.
 *
 * @module
 */
import { BUILD, CDN, type CellTable, DIMENSIONS, FIRST_DIMENSION, REGION } from "../watch/cells.ts";
import { ISP, MODEL, SECOND_DIMENSION, TITLE } from "../watch/cells.ts";

/** Of an outer and an inner cell: `inside` is wholly in it, `apart` shares no session with it. */
export type Overlap = "inside" | "apart" | "partly";

/** The value of `dimension` that `cell` fixes, or −1. */
export function valueOf(cells: CellTable, cell: number, dimension: number): number {
  const kind = cells.kinds[cell] ?? 0;
  if (FIRST_DIMENSION[kind] === dimension) return cells.a[cell] ?? -1;
  if (SECOND_DIMENSION[kind] === dimension) return cells.b[cell] ?? -1;
  return -1;
}

/** How the sessions of `inner` lie to those of `outer`. */
export function overlap(cells: CellTable, outer: number, inner: number): Overlap {
  if (cells.contains(outer, inner)) return "inside";
  for (let dimension = 0; dimension < DIMENSIONS.length; dimension++) {
    const a = valueOf(cells, outer, dimension);
    const b = valueOf(cells, inner, dimension);
    if (a >= 0 && b >= 0 && a !== b) return "apart";
  }
  return "partly";
}

/** Dimensions of which two incidents with the same value have one cause. */
const CAUSES = [TITLE, CDN, BUILD, ISP, MODEL];

/**
 * Whether an improbable `cell` tells more of the incident on `member` than of another: it is wider,
 * has the same title, CDN, build, ISP or model, or, `withSlices`, is another slice of the same region.
 */
export function isRelative(
  cells: CellTable,
  cell: number,
  member: number,
  withSlices: boolean,
): boolean {
  if (cells.contains(cell, member)) return true;
  const sharesCause = CAUSES.some((dimension) => {
    const value = valueOf(cells, cell, dimension);
    return value >= 0 && value === valueOf(cells, member, dimension);
  });
  return sharesCause || (withSlices && isSlice(cells, cell) && isSlice(cells, member) &&
    valueOf(cells, cell, REGION) === valueOf(cells, member, REGION));
}

// A part of a region by something other than the title.
function isSlice(cells: CellTable, cell: number): boolean {
  return valueOf(cells, cell, REGION) >= 0 && valueOf(cells, cell, TITLE) < 0 &&
    SECOND_DIMENSION[cells.kinds[cell] ?? 0] === REGION;
}
