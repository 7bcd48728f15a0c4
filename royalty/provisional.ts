/**
 * An open day as CSV, made so that nothing and nobody takes it for a statement: its columns are not
 * a statement's, and every line says PROVISIONAL and as of when.
 *
 * Pure.
 *
 * @module
 */
import { statementCsv, type StatementLine } from "./statement.ts";

/** The lines of an open day so far, as of `asOf` (ms since the epoch). */
export function provisionalCsv(lines: readonly StatementLine[], asOf: number): string {
  const mark = `PROVISIONAL,${new Date(asOf).toISOString()},`;
  // No text of a line holds a line end, because control characters are refused where they come in.
  const [header, ...rest] = statementCsv(lines).split(/(?<=\r\n)/);
  return `provisional,as_of,${header}${rest.map((line) => mark + line).join("")}`;
}
