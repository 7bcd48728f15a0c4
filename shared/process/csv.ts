/**
 * Reading CSV (RFC 4180), strictly: what a check reads must be what a spreadsheet reads.
 *
 * Pure.
 *
 * @module
 */
import { CsvError, parse } from "csv-parse/sync";

/** One row: the line it starts on, counted from 1, its fields, and why it cannot be read, if so. */
export interface CsvRow {
  readonly line: number;
  readonly fields: readonly string[];
  readonly problem?: string;
}

const BROKEN = "a quote is in the wrong place or not closed";
/** Rows with a broken quote that are named; a file with more is not one that somebody corrects. */
const MAX_BROKEN_ROWS = 100;

/**
 * The rows of `text`. Lines end in CRLF or LF; a byte order mark at the start is passed over. A row
 * with a quote that is misplaced or not closed, or a lone carriage return, has a `problem`, and reading goes on at the next line.
 */
export function csvRows(text: string): CsvRow[] {
  const rows: CsvRow[] = [];
  let rest = text;
  let line = 1;
  for (let broken = 0; broken < MAX_BROKEN_ROWS; broken++) {
    const read = readUntilBroken(rest, line);
    // One at a time: a spread has too many arguments for a catalogue of millions.
    for (const row of read.rows) rows.push(row);
    if (!read.isBroken) break;
    rows.push({
      line: read.line,
      fields: [],
      problem: BROKEN,
    });
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

/** A carriage return that neither ends a line nor is quoted: readers differ on what it means. */
class LoneReturn extends Error {}

function strict(field: string, { quoting }: { readonly quoting: boolean }): string {
  if (!quoting && field.includes("\r")) throw new LoneReturn();
  return field;
}

/** What of `text` comes after its line `index`, counted from 0. */
function afterLine(text: string, index: number): string {
  let at = 0;
  for (let lines = 0; lines <= index; lines++) {
    const end = text.indexOf("\n", at);
    if (end < 0) return "";
    at = end + 1;
  }
  return text.slice(at);
}
