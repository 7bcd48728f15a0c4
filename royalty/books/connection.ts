/**
 * Connections to the books, and their opening.
 *
 * @module
 */
import postgres, { type Sql, type TransactionSql } from "postgres";
import { messageOf, RetryAfter, Stop } from "../../shared/process/errors.ts";
import { migrate, type Migration } from "../../shared/process/migrate.ts";

/** A pool of connections for short reads and the catalogue. */
export function connectBooks(url: string): Sql {
  return postgres(url, { ...CONNECTION, max: 2, connection: CLIENT_GONE });
}

export const CONNECTION = {
  onnotice: () => {},
  connect_timeout: 5,
  // The driver would close the connection after 45 minutes, and the lock with it.
  max_lifetime: null,
  fetch_types: false,
} as const;

// A server that works or waits for a client that was killed would hold its locks until it is done.
export const CLIENT_GONE = { client_connection_check_interval: 1_000 } as const;

/**
 * Brings the schema up to date and opens the books in `zone`, or checks that they are kept in it.
 * Rejects with {@link Stop} if they are not, with {@link RetryAfter} while Postgres cannot be used.
 */
export async function openBooks(
  url: string,
  zone: string,
  migrations: readonly Migration[],
): Promise<void> {
  const sql = connectBooks(url);
  try {
    await migrate(sql, "royalty", migrations);
    await sql`insert into royalty.books (zone) values (${zone}) on conflict do nothing`;
    const [books] = await sql<{ zone: string }[]>`select zone from royalty.books`;
    if (books.zone !== zone) {
      throw new Stop(
        `the books are kept in the zone ${books.zone}, but TWOFOLD_BUSINESS_ZONE is ${zone}; ` +
          "days already booked cannot be moved, so set it back",
      );
    }
  } catch (error) {
    if (!isPassing(error)) throw error;
    throw new RetryAfter(`Postgres: ${messageOf(error)}`, 1_000, { cause: error });
  } finally {
    await sql.end({ timeout: 2 });
  }
}

// Connection and authorisation problems and shutdowns pass; a wrong statement does not.
function isPassing(error: unknown): boolean {
  if (error instanceof Stop) return false;
  const { name, code } = error as { readonly name?: string; readonly code?: unknown };
  return name !== "PostgresError" || /^(08|28|3D|40|53|57)/.test(String(code));
}

/** A connection or pool, or a transaction of it. */
export type Queryable = Sql | TransactionSql;
