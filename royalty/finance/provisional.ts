/**
 * An open day as CSV, made so that nothing and nobody takes it for a statement: its columns are not
 * a statement's, and every line says PROVISIONAL and as of when.
 *
 * Pure.
 *
 * @module
 */
import { COLUMNS, csvBytes, csvLine, type StatementLine } from "../statement/csv.ts";

/** The lines of an open day so far, as of `asOf` (ms since the epoch), as the bytes of a file. */
export function provisionalCsv(
  lines: readonly StatementLine[],
  asOf: number,
): Uint8Array<ArrayBuffer> {
  const mark = `PROVISIONAL,${new Date(asOf).toISOString()},`;
  return csvBytes(["provisional", "as_of", ...COLUMNS], lines, (line) => mark + csvLine(line));
}
