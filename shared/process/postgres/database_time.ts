/**
 * The clock of Postgres.
 *
 * @module
 */
import type { Queryable } from "./pool.ts";
import { onlyRow } from "./rows.ts";

interface TimeRow {
  readonly ms: string;
}

/** What time it is by the clock of the host of Postgres, ms since the epoch. */
export async function databaseTimeMs(sql: Queryable): Promise<number> {
  const rows = await sql<TimeRow[]>`
    select floor(extract(epoch from clock_timestamp()) * 1000)::text as ms`;
  return Number(onlyRow(rows, "the time").ms);
}
