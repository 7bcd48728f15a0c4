/**
 * Reads CSV (RFC 4180) strictly, so that a check reads the same fields as a spreadsheet.
 *
 * Pure.
 *
 * @module
 */
import { CsvError, parse } from "csv-parse/sync";

/** One row of CSV. */
export interface CsvRow {
  /** The line that the row starts on, from 1. */
  readonly line: number;
  /** Empty when the row has a `problem`. */
  readonly fields: readonly string[];
  /** Why the row cannot be read. */
  readonly problem?: string;
}

const BROKEN_QUOTE = "a quote is in the wrong place or not closed";
/** Maximum rows with a broken quote; reading stops there. */
const MAX_BROKEN_ROWS = 100;

/**
 * The rows of `text`. Lines end in CRLF or LF; a byte order mark at the start is skipped. A row
 * with a quote that is misplaced or not closed, or with a lone carriage return, has a `problem`,
 * and reading continues at the next line; after 100 such rows it stops.
 */
export function csvRows(text: string): CsvRow[] {
  const rows: CsvRow[] = [];
  let rest = text;
  let line = 1;
  for (let broken = 0; broken < MAX_BROKEN_ROWS; broken++) {
    const read = readUntilBroken(rest, line);
    // Not by spread: a catalogue of millions of rows would be too many arguments.
    for (const row of read.rows) rows.push(row);
    if (!read.isBroken) break;
    rows.push({ line: read.line, fields: [], problem: BROKEN_QUOTE });
    rest = afterLine(rest, read.line - line);
    line = read.line + 1;
    if (rest === "") break;
  }
  return rows;
}

interface ReadRows {
  readonly rows: readonly CsvRow[];
  /** The line after the last row that was read. */
  readonly line: number;
  readonly isBroken: boolean;
}

function readUntilBroken(text: string, firstLine: number): ReadRows {
  const rows: CsvRow[] = [];
  let line = firstLine;
  const onRecord = (fields: string[]) => {
    rows.push({ line, fields });
    // The library counts the CR and the LF of a quoted line end as two lines.
    line += fields.join("").split("\n").length;
    return null;
  };
  try {
    parse(text, {
      bom: true,
      relax_column_count: true,
      record_delimiter: ["\r\n", "\n"],
      cast: strict,
      on_record: onRecord,
    });
    return { rows, line, isBroken: false };
  } catch (error) {
    if (!(error instanceof CsvError || error instanceof LoneReturn)) throw error;
    return { rows, line, isBroken: true };
  }
}

/**
 * A carriage return that is neither a line end nor quoted: CSV readers interpret it differently.
 */
class LoneReturn extends Error {}

function strict(field: string, { quoting }: { readonly quoting: boolean }): string {
  if (!quoting && field.includes("\r")) throw new LoneReturn();
  return field;
}

/** The part of `text` after its line `index`, counted from 0. */
function afterLine(text: string, index: number): string {
  let at = 0;
  for (let lines = 0; lines <= index; lines++) {
    const end = text.indexOf("\n", at);
    if (end < 0) return "";
    at = end + 1;
  }
  return text.slice(at);
}
