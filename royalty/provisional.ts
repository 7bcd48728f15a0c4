/**
 * An open day as CSV, made so that nothing and nobody takes it for a statement: its columns are not
 * a statement's, and every line says PROVISIONAL and as of when.
 *
 * Pure.
 *
 * @module
 */
import { statementCsv, type StatementLine } from "./statement.ts";

const HEADER = statementCsv([]);

/** The lines of an open day so far, as of `asOf` (ms since the epoch). */
export function provisionalCsv(lines: readonly StatementLine[], asOf: number): string {
  const mark = `PROVISIONAL,${new Date(asOf).toISOString()},`;
  const marked = lines.map((line) => mark + statementCsv([line]).slice(HEADER.length));
  return `provisional,as_of,${HEADER}${marked.join("")}`;
}
