/**
 * Arrays as parameters: literals of Postgres, sent as texts and cast (`${…}::text::text[]`).
 *
 * The driver's own arrays need a query for types on each connection, and joining here costs a third
 * of its serialiser.
 *
 * Pure.
 *
 * @module
 */

/** An array literal of `items`; texts of letters, digits and `-` only, see {@link textArrayOf}. */
export function arrayOf(items: readonly (string | number)[]): string {
  return `{${items.join(",")}}`;
}

/** An array literal of any texts; undefined is null. */
export function textArrayOf(items: readonly (string | undefined)[]): string {
  return arrayOf(items.map((item) => item === undefined ? "null" : quoted(item)));
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}
