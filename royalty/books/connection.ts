/**
 * Connects to the books and opens them.
 *
 * @module
 */
import type { Sql } from "postgres";
import { Stop } from "../../shared/process/errors.ts";
import { checkMigrated, migrate } from "../../shared/process/postgres/migrate.ts";
import { withRetryable } from "../../shared/process/postgres/transient.ts";
import { allowSilence, openPool, type Queryable } from "../../shared/process/postgres/pool.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import { booksMigrations } from "./migrations.ts";

/** Maximum silence of Postgres during a statement that reads or writes a whole day, ms. */
export const WHOLE_DAY_MS = 600_000;
/** Maximum silence of Postgres during a migration. */
const MIGRATION_MS = 600_000;
/** Wait between attempts to open the books. */
const OPEN_RETRY_MS = 1_000;

/**
 * A pool of two connections for short reads, the catalogue and closing. A statement that takes longer
 * than 10 s has to run in `allowSilence`, with up to {@link WHOLE_DAY_MS}.
 */
export function connectBooks(url: string): Sql {
  return openPool(url, { purpose: "royalty-books", max: 2 });
}

/**
 * Opens the books with the time zone `zone`, or checks that they have that zone. Migrates the schema
 * if the role of `url` owns it, or the database has none; otherwise provisioning has to have done it.
 * Rejects with {@link Stop} if they have another zone, with `RetryAfter` while Postgres is away or the
 * schema is behind.
 */
export async function openBooks(url: string, zone: string): Promise<void> {
  const migrations = await booksMigrations();
  const sql = connectBooks(url);
  try {
    const kept = await withRetryable(async () => {
      if (await mayMigrate(sql)) {
        await allowSilence(sql, MIGRATION_MS, () => migrate(sql, "royalty", migrations));
      } else await checkMigrated(sql, "royalty", migrations);
      await sql`insert into royalty.books (zone) values (${zone}) on conflict do nothing`;
      return await readZone(sql);
    }, OPEN_RETRY_MS);
    if (kept === zone) return;
    throw new Stop(
      `the books are kept in the zone ${kept}, but TWOFOLD_BUSINESS_ZONE is ${zone}; ` +
        "the zone of existing books cannot be changed, so set it back",
    );
  } finally {
    await sql.end({ timeout: 2 });
  }
}

interface OwnerRow {
  readonly owns: boolean;
}

/** Whether the role of the session owns the schema, or there is none. */
async function mayMigrate(sql: Sql): Promise<boolean> {
  const [schema] = await sql<OwnerRow[]>`
    select pg_has_role(nspowner, 'usage') as owns from pg_namespace where nspname = 'royalty'`;
  return schema?.owns ?? true;
}

interface ZoneRow {
  readonly zone: string;
}

/** Reads the time zone of the books. Rejects when they are not opened. */
export async function readZone(sql: Queryable): Promise<string> {
  return onlyRow(await sql<ZoneRow[]>`select zone from royalty.books`, "the books").zone;
}
