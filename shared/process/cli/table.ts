/**
 * Renders tables as text for a terminal or a log.
 *
 * Some of the text comes from devices and users, so {@link safeText} escapes everything that a
 * terminal could interpret; {@link renderTable} applies it to every cell. The width of text is
 * counted in terminal columns: one per code point, two for wide ones (East Asian wide and
 * full-width characters, emoji). Terminals differ on combined characters, so such a line may be
 * misaligned by a column or two.
 *
 * Pure.
 *
 * @module
 */

/** One column of a table. */
export interface Column {
  /** The first line of the column. */
  readonly heading: string;
  /** Alignment of cells and heading; numbers are aligned to the right. */
  readonly align: "left" | "right";
  /** Maximum terminal columns, at least 1; longer cells end in `…`. Default: no limit. */
  readonly maxWidth?: number;
}

const GAP = "  ";
const ELLIPSIS = "…";

/**
 * Characters that are two columns wide: ranges of Unicode's East Asian Width W and F, and emoji.
 */
const WIDE = new RegExp(
  "[\\u1100-\\u115f\\u2e80-\\u303e\\u3041-\\u4dbf\\u4e00-\\ua4cf\\ua960-\\ua97f\\uac00-\\ud7a3" +
    "\\uf900-\\ufaff\\ufe30-\\ufe6f\\uff01-\\uff60\\uffe0-\\uffe6\\u{20000}-\\u{3fffd}" +
    "\\p{Emoji_Presentation}]",
  "u",
);

/**
 * `text` that is safe to print on a terminal: control characters, format characters (bidirectional
 * overrides), unassigned and private characters, lone surrogates and line separators become
 * `\u{hex}`. Other characters are unchanged, so the function is idempotent.
 */
export function safeText(text: string): string {
  return text.replace(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`,
  );
}

/** The width of `text` in terminal columns, as described above; `text` must be safe text. */
export function widthOf(text: string): number {
  let width = 0;
  for (const char of text) width += WIDE.test(char) ? 2 : 1;
  return width;
}

/** `text` in at most `maxWidth` terminal columns (at least 1); truncated text ends in `…`. */
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

/** A column that is aligned to the left, for words. */
export function left(heading: string, maxWidth?: number): Column {
  return { heading, align: "left", ...(maxWidth === undefined ? {} : { maxWidth }) };
}

/** A column that is aligned to the right, for numbers. */
export function right(heading: string, maxWidth?: number): Column {
  return { heading, align: "right", ...(maxWidth === undefined ? {} : { maxWidth }) };
}

/**
 * Renders the headings and one line per row, with two spaces between columns, no trailing spaces
 * and no line break at the end. Each row has one cell per column.
 *
 * @param empty Text to return when there are no rows; by default the headings.
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
  return joinColumns(
    columns.map((column, index) => [column.heading, ...rows.map((row) => row[index] ?? "")]),
    columns,
  );
}

/** Renders names and values in two columns, one pair per line, without headings. */
export function renderPairs(pairs: readonly (readonly [name: string, value: string])[]): string {
  const columns = [left(""), left("")];
  return joinColumns([pairs.map(([name]) => name), pairs.map(([, value]) => value)], columns);
}

/** Lines of text from the cells of each column. */
function joinColumns(cells: readonly (readonly string[])[], columns: readonly Column[]): string {
  const aligned = columns.map((column, index) => alignCells(column, cells[index] ?? []));
  const [first = []] = aligned;
  return first.map((_, line) => aligned.map((column) => column[line]).join(GAP).trimEnd())
    .join("\n");
}

/** The cells of one column, padded to the same width. */
function alignCells({ align, maxWidth = Infinity }: Column, cells: readonly string[]): string[] {
  const shown = cells.map((cell) => truncated(safeText(cell), maxWidth));
  const widths = shown.map(widthOf);
  // Not by spread: a long table would be too many arguments.
  const widest = widths.reduce((max, width) => Math.max(max, width), 0);
  return shown.map((cell, index) => {
    const padding = " ".repeat(widest - (widths[index] ?? widest));
    return align === "right" ? padding + cell : cell + padding;
  });
}
