/**
 * An open day as CSV that cannot be mistaken for a statement: it has other columns, and every line
 * says PROVISIONAL and as of when.
 *
 * Pure.
 *
 * @module
 */
import {
  csvBytes,
  csvLine,
  STATEMENT_COLUMNS,
  type StatementLine,
} from "../statement/statement_csv.ts";

/** The lines of an open day so far, as of `asOfMs` (ms since the epoch), as the bytes of a file. */
export function provisionalCsv(
  lines: readonly StatementLine[],
  asOfMs: number,
): Uint8Array<ArrayBuffer> {
  const mark = `PROVISIONAL,${new Date(asOfMs).toISOString()},`;
  const columns = ["provisional", "as_of", ...STATEMENT_COLUMNS];
  return csvBytes(columns, lines, (line) => mark + csvLine(line));
}
