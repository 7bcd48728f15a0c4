/**
 * Postgres roles, made by provisioning: one per service with a schema of its own, and one that reads.
 *
 * @module
 */
import type { Sql } from "postgres";
import { runFormatted } from "../process/postgres/formatted.ts";
import { onlyRow } from "../process/postgres/rows.ts";

/** The services that keep state in Postgres; role, schema and service share the name. */
export const DATABASE_ROLES = ["royalty", "triage"] as const;
/** A role that owns a schema. */
export type DatabaseRole = typeof DATABASE_ROLES[number];

/** The role that reads statements. It owns nothing; royalty lets it read what finance may see. */
export const FINANCE_ROLE = "finance";

/** The password of each role. */
export interface RolePasswords extends Readonly<Record<DatabaseRole, string>> {
  /** Without it the finance role is not made. */
  readonly finance?: string | undefined;
}

interface RoleRow {
  readonly rolname: string;
}

interface CurrentDatabaseRow {
  readonly database: string;
}

/**
 * Makes each role with its password and a schema only it can use, and the finance role with neither
 * a schema nor a right to write. `sql` is a superuser's connection to Twofold's database.
 * Idempotent; a changed password takes effect.
 */
export async function provisionRoles(sql: Sql, passwords: RolePasswords): Promise<void> {
  const { database } = onlyRow(
    await sql<CurrentDatabaseRow[]>`select current_database() as database`,
    "the current database",
  );
  await sql`revoke all on schema public from public`;
  await sql`revoke temporary on database ${sql(database)} from public`;
  for (const role of DATABASE_ROLES) {
    await provisionRole(sql, role, passwords[role]);
    await sql`create schema if not exists ${sql(role)} authorization ${sql(role)}`;
    // migrate() says `create schema if not exists`, which asks for this right even when it exists.
    await sql`grant create, temporary on database ${sql(database)} to ${sql(role)}`;
  }
  if (passwords.finance !== undefined) {
    await provisionRole(sql, FINANCE_ROLE, passwords.finance);
    await sql`alter role ${sql(FINANCE_ROLE)} set default_transaction_read_only = on`;
    await sql`alter role ${sql(FINANCE_ROLE)} set statement_timeout = '30s'`;
  }
}

async function provisionRole(sql: Sql, role: string, password: string): Promise<void> {
  const [found] = await sql<RoleRow[]>`select rolname from pg_roles where rolname = ${role}`;
  if (!found) await sql`create role ${sql(role)} login`;
  await runFormatted(sql, "alter role %I password %L", role, password);
}
