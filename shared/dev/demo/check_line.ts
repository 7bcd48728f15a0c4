/**
 * One line of a verdict: what was expected, what was found, and whether that is right.
 *
 * Pure.
 *
 * @module
 */

/** One line of the table. */
export interface CheckLine {
  readonly name: string;
  readonly expected: string;
  readonly found: string;
  readonly ok: boolean;
}

/** A line as its reader is to see it. */
export function check(name: string, expected: string, found: string, ok: boolean): CheckLine {
  return { name, expected, found, ok };
}

/** A line that holds when both numbers are the same. */
export function equal(name: string, expected: number, found: number): CheckLine {
  return check(name, whole(expected), whole(found), expected === found);
}

/** A number with its thousands apart. */
export function whole(value: number): string {
  return value.toLocaleString("en-US");
}
