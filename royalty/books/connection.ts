/**
 * Connections to the books, and their opening.
 *
 * @module
 */
import type { Sql } from "postgres";
import { Stop } from "../../shared/process/errors.ts";
import { migrate } from "../../shared/process/postgres/migrate.ts";
import { withRetryable } from "../../shared/process/postgres/passing.ts";
import { openPool, patiently, type Queryable } from "../../shared/process/postgres/pool.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import { booksMigrations } from "./migrations.ts";

/** Longest silence of Postgres over a statement that reads or writes a whole day, ms. */
export const WHOLE_DAY_MS = 600_000;
/** Longest silence of Postgres over a migration, ms. */
const MIGRATION_MS = 600_000;
/** Wait between tries to open the books, ms. */
const OPEN_RETRY_MS = 1_000;

/**
 * A pool of connections for short reads, the catalogue and closing. What takes longer than 10 s asks
 * for patience, up to {@link WHOLE_DAY_MS}.
 */
export function connectBooks(url: string): Sql {
  return openPool(url, { purpose: "royalty-books", max: 2 });
}

/**
 * Brings the schema up to date and opens the books in `zone`, or checks that they are kept in it.
 * Rejects with {@link Stop} if they are not, with `RetryAfter` while Postgres cannot be used.
 */
export async function openBooks(url: string, zone: string): Promise<void> {
  const migrations = await booksMigrations();
  const sql = connectBooks(url);
  try {
    const kept = await withRetryable(async () => {
      await patiently(sql, MIGRATION_MS, () => migrate(sql, "royalty", migrations));
      await sql`insert into royalty.books (zone) values (${zone}) on conflict do nothing`;
      return await readZone(sql);
    }, OPEN_RETRY_MS);
    if (kept === zone) return;
    throw new Stop(
      `the books are kept in the zone ${kept}, but TWOFOLD_BUSINESS_ZONE is ${zone}; ` +
        "days already booked cannot be moved, so set it back",
    );
  } finally {
    await sql.end({ timeout: 2 });
  }
}

interface ZoneRow {
  readonly zone: string;
}

/** The time zone that the books are kept in. */
export async function readZone(sql: Queryable): Promise<string> {
  return onlyRow(await sql<ZoneRow[]>`select zone from royalty.books`, "the books").zone;
}
