/**
 * The catalogue: CSV that maps each title to the studio that is paid for it, with the columns
 * `title_id,studio[,title_name]`.
 *
 * Pure.
 *
 * @module
 */
import { type CsvRow, csvRows } from "../../shared/process/csv.ts";
import { UNMAPPED } from "./statement_csv.ts";

/** One title and its studio. `titleName` is undefined when the file has none. */
export interface CatalogueEntry {
  readonly titleId: string;
  readonly studio: string;
  readonly titleName: string | undefined;
}

/** A row that cannot be used: the line on which it starts, counted from 1, and why. */
export interface BadRow {
  readonly line: number;
  readonly reason: string;
}

/** A parsed catalogue: its entries, or every row that cannot be used. */
export type Catalogue =
  | { readonly ok: true; readonly entries: readonly CatalogueEntry[] }
  | { readonly ok: false; readonly badRows: readonly BadRow[] };

const COLUMNS = ["title_id", "studio", "title_name"];

/**
 * Parses a whole catalogue. One bad row and there are no entries. A byte order mark and both line
 * ends are accepted.
 */
export function parseCatalogue(text: string): Catalogue {
  const [header, ...rows] = csvRows(text);
  if (!header) return { ok: false, badRows: [{ line: 1, reason: "the file is empty" }] };
  const problem = headerProblem(header);
  if (problem) return { ok: false, badRows: [{ line: 1, reason: problem }] };
  if (rows.length === 0) {
    return { ok: false, badRows: [{ line: 2, reason: "there are no titles" }] };
  }
  const entries: CatalogueEntry[] = [];
  const badRows: BadRow[] = [];
  const firstLine = new Map<string, number>();
  for (const row of rows) {
    // Missing fields are reported by rowProblem.
    const [titleId = "", studio = "", titleName = ""] = row.fields;
    const earlier = firstLine.get(titleId);
    const reason = rowProblem(row, header.fields.length) ??
      (earlier === undefined ? undefined : `title_id ${titleId} is already on line ${earlier}`);
    if (reason) badRows.push({ line: row.line, reason });
    else entries.push({ titleId, studio, titleName: titleName || undefined });
    if (earlier === undefined) firstLine.set(titleId, row.line);
  }
  return badRows.length > 0 ? { ok: false, badRows } : { ok: true, entries };
}

function headerProblem(header: CsvRow): string | undefined {
  if (header.problem) return header.problem;
  const named = header.fields.join(",");
  if (named === COLUMNS.join(",") || named === COLUMNS.slice(0, 2).join(",")) return undefined;
  return `the header is "${named.slice(0, 80)}", expected title_id,studio or ${COLUMNS.join(",")}`;
}

function rowProblem({ fields, problem }: CsvRow, columns: number): string | undefined {
  if (problem) return problem;
  if (fields.length !== columns) return `expected ${columns} fields, came ${fields.length}`;
  const [titleId = "", studio = "", titleName = ""] = fields;
  if (!/^[^\p{Cc}\p{Cs}]{1,64}$/u.test(titleId)) {
    return "title_id must be 1 to 64 characters, none of them a control character";
  }
  if (!/^[^\p{Cc}\p{Cs}]{1,128}$/u.test(studio) || studio.trim() !== studio) {
    return "studio must be 1 to 128 characters without control characters or outer spaces";
  }
  if (studio === UNMAPPED) return `studio ${UNMAPPED} is what unknown titles get; name a studio`;
  if (!/^[^\p{Cc}\p{Cs}]{0,256}$/u.test(titleName)) {
    return "title_name must be at most 256 characters, none of them a control character";
  }
}
