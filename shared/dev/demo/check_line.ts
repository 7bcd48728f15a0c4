/**
 * One line of a verdict: the expected value, the found value, and whether they agree.
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

/** A line with its result. */
export function check(name: string, expected: string, found: string, ok: boolean): CheckLine {
  return { name, expected, found, ok };
}

/** A line that holds when both numbers are the same. */
export function equal(name: string, expected: number, found: number): CheckLine {
  return check(name, whole(expected), whole(found), expected === found);
}

/** A number with thousands separators. */
export function whole(value: number): string {
  return value.toLocaleString("en-US");
}
