/**
 * Tables as text for a terminal or a log.
 *
 * Devices and other people choose some of the text shown here, so nothing that a terminal would
 * obey gets through: {@link safeText} escapes it, and {@link renderTable} applies that to every
 * cell. The width of text is counted in terminal columns by one rule: every code point is one
 * column, and a wide one (East Asian wide and full-width characters, emoji) is two. Terminals
 * differ on combined characters; there a line may be out of step by a column or two.
 *
 * Pure.
 *
 * @module
 */

/** One column of a table. */
export interface Column {
  /** First line of the column. */
  readonly heading: string;
  /** The side at which cells and heading line up: numbers belong to the right. */
  readonly align: "left" | "right";
  /** Terminal columns, at least 1; longer cells end in `…`. Not set: as wide as the widest cell. */
  readonly maxWidth?: number;
}

const GAP = "  ";
const ELLIPSIS = "…";

/** What terminals draw two columns wide, in the ranges of Unicode's East Asian Width W and F. */
const WIDE = new RegExp(
  "[\\u1100-\\u115f\\u2e80-\\u303e\\u3041-\\u4dbf\\u4e00-\\ua4cf\\ua960-\\ua97f\\uac00-\\ud7a3" +
    "\\uf900-\\ufaff\\ufe30-\\ufe6f\\uff01-\\uff60\\uffe0-\\uffe6\\u{20000}-\\u{3fffd}" +
    "\\p{Emoji_Presentation}]",
  "u",
);

/**
 * `text` without anything that a terminal would obey: control, format (bidirectional overrides),
 * unassigned and private characters, lone surrogates and line separators become `\u{hex}`. The rest
 * stays as it is, so text that is safe already stays the same.
 */
export function safeText(text: string): string {
  return text.replace(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`,
  );
}

/** Terminal columns that `text` takes, which has to be safe text: see the rule above. */
export function widthOf(text: string): number {
  let width = 0;
  for (const char of text) width += WIDE.test(char) ? 2 : 1;
  return width;
}

/** `text` in at most `maxWidth` terminal columns (at least 1); what is cut off shows as `…`. */
export function truncated(text: string, maxWidth: number): string {
  if (widthOf(text) <= maxWidth) return text;
  let kept = "";
  let width = ELLIPSIS.length;
  for (const char of text) {
    width += widthOf(char);
    if (width > maxWidth) break;
    kept += char;
  }
  return kept + ELLIPSIS;
}

/** A column of words: aligned to the left. */
export function left(heading: string, maxWidth?: number): Column {
  return { heading, align: "left", ...(maxWidth === undefined ? {} : { maxWidth }) };
}

/** A column of numbers: aligned to the right. */
export function right(heading: string, maxWidth?: number): Column {
  return { heading, align: "right", ...(maxWidth === undefined ? {} : { maxWidth }) };
}

/**
 * The headings and one line per row, two spaces between columns, no spaces at the end of a line and
 * no line break at the end of the text. Each row has one cell per column.
 *
 * @param empty The line that is shown instead when there are no rows; without it, the headings are.
 * @throws {RangeError} When a row has more or fewer cells than there are columns.
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  empty?: string,
): string {
  if (rows.length === 0 && empty !== undefined) return safeText(empty);
  for (const [index, row] of rows.entries()) {
    if (row.length === columns.length) continue;
    throw new RangeError(`row ${index} has ${row.length} cells for ${columns.length} columns`);
  }
  return joined(
    columns.map((column, index) => [column.heading, ...rows.map((row) => row[index] ?? "")]),
    columns,
  );
}

/** Names and what they are, a pair per line, without headings: a list of facts. */
export function renderPairs(pairs: readonly (readonly [name: string, value: string])[]): string {
  const columns = [left(""), left("")];
  return joined([pairs.map(([name]) => name), pairs.map(([, value]) => value)], columns);
}

/** The cells of each column, a line per cell. */
function joined(cells: readonly (readonly string[])[], columns: readonly Column[]): string {
  const lanes = columns.map((column, index) => lane(column, cells[index] ?? []));
  const [first = []] = lanes;
  return first.map((_, line) => lanes.map((lane) => lane[line]).join(GAP).trimEnd()).join("\n");
}

/** The cells of one column, all equally wide. */
function lane({ align, maxWidth = Infinity }: Column, cells: readonly string[]): string[] {
  const shown = cells.map((cell) => truncated(safeText(cell), maxWidth));
  const widths = shown.map(widthOf);
  // A loop, because a spread has too many arguments for a long table.
  const widest = widths.reduce((most, width) => Math.max(most, width), 0);
  return shown.map((cell, index) => {
    const padding = " ".repeat(widest - (widths[index] ?? widest));
    return align === "right" ? padding + cell : cell + padding;
  });
}
