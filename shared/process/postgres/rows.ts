/**
 * What queries return.
 *
 * @module
 */

/** The row of a query that always returns exactly one, such as a sum; `what` says which it is. */
export function onlyRow<T>(rows: readonly T[], what: string): T {
  const [row] = rows;
  if (row === undefined || rows.length > 1) {
    throw new Error(`${what}: expected one row, got ${rows.length}`);
  }
  return row;
}
