/**
 * A strict reader of CSV (RFC 4180): what a check reads must be what a spreadsheet would read.
 *
 * @module
 */

/** One record and the line it starts on, counted from 1. */
export interface CsvRecord {
  readonly line: number;
  readonly values: Readonly<Record<string, string>>;
}

/**
 * The records of `text` by the names in its header. Lines end in CRLF or LF. Throws an `Error` that
 * names the line when a quote is unbalanced or misplaced, or a record is not as long as the header.
 */
export function parseCsv(text: string): CsvRecord[] {
  const [header, ...rows] = rowsOf(text);
  if (!header) throw new Error("line 1: there is no header");
  const names = header.fields;
  if (new Set(names).size !== names.length) throw new Error("line 1: a column is named twice");
  return rows.map(({ line, fields }) => {
    if (fields.length !== names.length) {
      throw new Error(`line ${line}: ${fields.length} fields, the header has ${names.length}`);
    }
    return { line, values: Object.fromEntries(names.map((name, i) => [name, fields[i]])) };
  });
}

// One field and what ends it; a quoted field may hold anything, with quotes doubled.
const FIELD = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\n|$)/y;

function rowsOf(text: string): { line: number; fields: string[] }[] {
  const rows: { line: number; fields: string[] }[] = [];
  let line = 1;
  let fields: string[] = [];
  let startLine = 1;
  for (let at = 0; at < text.length || fields.length > 0;) {
    FIELD.lastIndex = at;
    const match = FIELD.exec(text);
    if (!match) throw new Error(`line ${line}: a quote or a line end is out of place`);
    const [whole, quoted, plain, end] = match;
    fields.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    at += whole.length;
    line += whole.split("\n").length - 1;
    if (end === ",") continue;
    rows.push({ line: startLine, fields });
    fields = [];
    startLine = line;
  }
  return rows;
}
