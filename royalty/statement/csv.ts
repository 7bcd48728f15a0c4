/**
 * A day's statement as CSV: RFC 4180, UTF-8, CRLF, a header, fixed decimals, no currency.
 *
 * Pure.
 *
 * @module
 */
// @ts-types="@types/d3-dsv"
import { csvFormatValue } from "d3-dsv";

/** One line: what a title earned in a territory. */
export interface StatementLine {
  /** The day whose statement carries the line, `YYYY-MM-DD`. */
  readonly recognisedDay: string;
  /** The day it was watched, never later. */
  readonly eventDay: string;
  /** Undefined when the catalogue does not know the title. */
  readonly studio: string | undefined;
  readonly titleId: string;
  readonly territory: string;
  readonly events: bigint;
  readonly msWatched: bigint;
}

/** The studio of a title that the catalogue does not know: counted, never dropped. */
export const UNMAPPED = "UNMAPPED";

export const COLUMNS = [
  "line_type",
  "recognised_day",
  "event_day",
  "studio",
  "title_id",
  "territory",
  "events",
  "ms_watched",
  "minutes",
] as const;

// One text of millions of lines would be longer than the longest that the engine can make.
const LINES_AT_ONCE = 5_000;
const encoder = new TextEncoder();

/** The CSV of `lines`, in their order, as the bytes of a file; the header alone for no lines. */
export function statementCsv(lines: readonly StatementLine[]): Uint8Array<ArrayBuffer> {
  return csvBytes(COLUMNS, lines, csvLine);
}

/** A CSV file with the header `columns` and the `row` of each of `lines`. */
export function csvBytes<T>(
  columns: readonly string[],
  lines: readonly T[],
  row: (line: T) => string,
): Uint8Array<ArrayBuffer> {
  const encode = (rows: readonly string[]) =>
    encoder.encode(rows.map((each) => `${each}\r\n`).join(""));
  const parts = [encode([columns.join(",")])];
  for (let at = 0; at < lines.length; at += LINES_AT_ONCE) {
    parts.push(encode(lines.slice(at, at + LINES_AT_ONCE).map(row)));
  }
  const file = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let end = 0;
  for (const part of parts) {
    file.set(part, end);
    end += part.length;
  }
  return file;
}

/** What was watched on the statement's own day, or an addition to a day closed before. */
export function lineType(line: Pick<StatementLine, "recognisedDay" | "eventDay">): string {
  return line.recognisedDay === line.eventDay ? "USAGE" : "ADJUSTMENT";
}

/** A line as a row of a statement, without the line end. */
export function csvLine(line: StatementLine): string {
  return [
    lineType(line),
    line.recognisedDay,
    line.eventDay,
    csvText(line.studio ?? UNMAPPED),
    csvText(line.titleId),
    csvText(line.territory),
    String(line.events),
    String(line.msWatched),
    minutesOf(line.msWatched),
  ].join(",");
}

/** Minutes with three decimals, half up; exact, because it never leaves the integers. */
export function minutesOf(ms: bigint): string {
  const thousandths = (ms + 30n) / 60n;
  const fraction = String(thousandths % 1000n).padStart(3, "0");
  return `${thousandths / 1000n}.${fraction}`;
}

/**
 * `text` as a CSV field. A spreadsheet runs a cell that begins with `= + - @` as a formula, so such
 * text gets an apostrophe in front (OWASP, "CSV Injection"), and so does text that begins with an
 * apostrophe: a reader that removes one always gets the original back.
 */
export function csvText(text: string): string {
  const safe = /^[=+\-@'\t\r]/.test(text) ? `'${text}` : text;
  return csvFormatValue(safe);
}
