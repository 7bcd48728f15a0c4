/**
 * Results of queries.
 *
 * @module
 */

/**
 * The row of a query that returns exactly one, such as a sum. Throws an `Error` for any other number
 * of rows; `what` describes the query in its message.
 */
export function onlyRow<T>(rows: readonly T[], what: string): T {
  const [row] = rows;
  if (row === undefined || rows.length > 1) {
    throw new Error(`${what}: expected one row, got ${rows.length}`);
  }
  return row;
}
