/**
 * CSV files as records, for checks of what a service wrote.
 *
 * @module
 */
import { type CsvRow, csvRows } from "../../process/csv.ts";

/** One record and the line it starts on, counted from 1. */
export interface CsvRecord {
  readonly line: number;
  readonly values: Readonly<Record<string, string>>;
}

/**
 * The records of `text` by the names in its header. Throws an `Error` that names the line when a
 * quote is unbalanced or misplaced, or a record is not as long as the header.
 */
export function parseCsv(text: string): CsvRecord[] {
  const [header, ...rows] = csvRows(text).map(readable);
  if (!header) throw new Error("line 1: there is no header");
  const names = header.fields;
  if (new Set(names).size !== names.length) throw new Error("line 1: a column is named twice");
  return rows.map(({ line, fields }) => {
    if (fields.length !== names.length) {
      throw new Error(`line ${line}: ${fields.length} fields, the header has ${names.length}`);
    }
    return { line, values: Object.fromEntries(names.map((name, i) => [name, fields[i] ?? ""])) };
  });
}

function readable(row: CsvRow): CsvRow {
  if (row.problem !== undefined) throw new Error(`line ${row.line}: ${row.problem}`);
  return row;
}
