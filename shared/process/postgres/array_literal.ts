/**
 * Array parameters as Postgres array literals, sent as text and cast (`${…}::text::text[]`).
 *
 * The driver's own arrays need a query for types on every connection, and its serialiser takes three
 * times as long.
 *
 * Pure.
 *
 * @module
 */

/**
 * An array literal of `items`. Strings may have letters, digits and `-` only; for others use
 * {@link textArrayOf}.
 */
export function arrayOf(items: readonly (string | number)[]): string {
  return `{${items.join(",")}}`;
}

/** An array literal of any strings; undefined becomes null. */
export function textArrayOf(items: readonly (string | undefined)[]): string {
  return arrayOf(items.map((item) => item === undefined ? "null" : quoted(item)));
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}
