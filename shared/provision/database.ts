/**
 * Provisioning of Postgres: the database and its roles, as an admin who need not be a superuser.
 *
 * @module
 */
import { messageOf, Stop } from "../process/errors.ts";
import { runFormatted } from "../process/postgres/formatted.ts";
import { openPool } from "../process/postgres/pool.ts";
import { stateOf, withRetryable } from "../process/postgres/transient.ts";
import { type CurrentDatabaseRow, provisionRoles, type RolePasswords } from "./roles.ts";

/** Every server has this database. */
const MAINTENANCE_DATABASE = "postgres";
/** SQLSTATE: there is no such database. */
const NO_DATABASE = "3D000";
/** SQLSTATEs of a wrong password or role, and of a right that is missing. */
const REFUSALS = /^(28|42501)/;

/**
 * Creates the database of `url` unless it exists, then its roles as {@link provisionRoles} does.
 * Rejects with `RetryAfter` while Postgres is not there, with `Stop` when it refuses the admin.
 */
export async function provisionDatabase(url: string, passwords: RolePasswords): Promise<void> {
  await withRetryable(async () => {
    try {
      await createMissing(url);
      await withPool(url, (sql) => provisionRoles(sql, passwords));
    } catch (error) {
      if (!REFUSALS.test(stateOf(error) ?? "")) throw error;
      throw new Stop(
        `Postgres refuses the admin of TWOFOLD_POSTGRES_ADMIN_URL: ${messageOf(error)} (it needs ` +
          "CREATEROLE and CREATEDB, and has to own the database and have created the roles)",
        { cause: error },
      );
    }
  });
}

async function createMissing(url: string): Promise<void> {
  try {
    await withPool(url, (sql) => sql<CurrentDatabaseRow[]>`select current_database() as database`);
  } catch (error) {
    if (stateOf(error) !== NO_DATABASE) throw error;
    const other = new URL(url);
    const database = decodeURIComponent(other.pathname.slice(1));
    other.pathname = `/${MAINTENANCE_DATABASE}`;
    await withPool(other.href, (sql) => runFormatted(sql, "create database %I", database));
  }
}

async function withPool(
  url: string,
  work: (sql: ReturnType<typeof openPool>) => PromiseLike<unknown>,
): Promise<void> {
  const sql = openPool(url, { purpose: "provision", max: 1 });
  try {
    await work(sql);
  } finally {
    await sql.end();
  }
}
