/**
 * A day's statement as CSV: RFC 4180, UTF-8, CRLF, with a header.
 *
 * Pure.
 *
 * @module
 */
// @ts-types="@types/d3-dsv"
import { csvFormatValue } from "d3-dsv";

/** One line of a statement: what was watched of a title in a territory on one event day. */
export interface StatementLine {
  /** The day whose statement carries the line, `YYYY-MM-DD`. */
  readonly recognisedDay: string;
  /** The day on which it was watched, `YYYY-MM-DD`, never after `recognisedDay`. */
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

/** The columns of a statement, in order. */
export const STATEMENT_COLUMNS = [
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

/** Lines encoded at once: one string of millions of lines would exceed the engine's maximum. */
const CHUNK_LINES = 5_000;
const encoder = new TextEncoder();

/** The statement of `lines`, in their order, as the bytes of a file; without lines, the header. */
export function statementCsv(lines: readonly StatementLine[]): Uint8Array<ArrayBuffer> {
  return csvBytes(STATEMENT_COLUMNS, lines, csvLine);
}

/** A CSV file: the header `columns`, then `row(line)` for each of `lines`. CRLF ends are added. */
export function csvBytes<T>(
  columns: readonly string[],
  lines: readonly T[],
  row: (line: T) => string,
): Uint8Array<ArrayBuffer> {
  const encode = (rows: readonly string[]) =>
    encoder.encode(rows.map((each) => `${each}\r\n`).join(""));
  const parts = [encode([columns.join(",")])];
  for (let at = 0; at < lines.length; at += CHUNK_LINES) {
    parts.push(encode(lines.slice(at, at + CHUNK_LINES).map(row)));
  }
  const file = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let end = 0;
  for (const part of parts) {
    file.set(part, end);
    end += part.length;
  }
  return file;
}

/** `USAGE`: watched on the recognised day itself; `ADJUSTMENT`: watched on an earlier, closed day. */
export function lineType(line: Pick<StatementLine, "recognisedDay" | "eventDay">): string {
  return line.recognisedDay === line.eventDay ? "USAGE" : "ADJUSTMENT";
}

/** One row of a statement, without the line end. */
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

/** `ms` in minutes with three decimals, rounded half up; exact, because all steps are integers. */
export function minutesOf(ms: bigint): string {
  const thousandths = (ms + 30n) / 60n;
  const fraction = String(thousandths % 1000n).padStart(3, "0");
  return `${thousandths / 1000n}.${fraction}`;
}

/**
 * `text` as a CSV field. A spreadsheet runs a cell that begins with `= + - @` as a formula, so such
 * text gets an apostrophe in front (OWASP, "CSV Injection"). So does text that begins with an
 * apostrophe, so that a reader who removes one always gets the original.
 */
export function csvText(text: string): string {
  const safe = /^[=+\-@'\t\r]/.test(text) ? `'${text}` : text;
  return csvFormatValue(safe);
}
