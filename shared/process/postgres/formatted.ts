/**
 * Utility statements, which take no parameters.
 *
 * @module
 */
import { textArrayOf } from "./array_literal.ts";
import type { Queryable } from "./pool.ts";
import { onlyRow } from "./rows.ts";

interface FormattedRow {
  readonly statement: string;
}

/**
 * Runs a utility statement. The server's function `format` inserts `values` into `template`: as an
 * identifier for `%I`, as a literal for `%L`. Rejects with the error of Postgres.
 */
export async function runFormatted(
  sql: Queryable,
  template: string,
  ...values: readonly string[]
): Promise<void> {
  const rows = await sql<FormattedRow[]>`
    select format(${template}::text, variadic ${textArrayOf(values)}::text::text[]) as statement`;
  await sql.unsafe(onlyRow(rows, "a statement").statement);
}
