/**
 * Statements that take no parameters.
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
 * Runs a utility statement. Its `values` are put into `template` by the server's own `format`, as
 * names where it says `%I` and as texts where it says `%L`.
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
