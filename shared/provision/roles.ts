/**
 * Provisioning of Postgres roles: one with a schema per service that stores data, and one that only
 * reads.
 *
 * @module
 */
import type { Sql } from "postgres";
import { runFormatted } from "../process/postgres/formatted.ts";
import { onlyRow } from "../process/postgres/rows.ts";

/** The services that store data in Postgres; role and schema have the name of the service. */
export const DATABASE_ROLES = ["royalty", "triage"] as const;
/** A role that owns a schema. */
export type DatabaseRole = typeof DATABASE_ROLES[number];

/** The role that reads statements. It owns nothing; royalty grants it read access. */
export const FINANCE_ROLE = "finance";

/** The password of each role. */
export interface RolePasswords extends Readonly<Record<DatabaseRole, string>> {
  /** If undefined, the finance role is not created. */
  readonly finance?: string | undefined;
}

interface RoleRow {
  readonly rolname: string;
}

interface MembershipRow {
  readonly is_member: boolean;
}

/** The name of the database of a connection. */
export interface CurrentDatabaseRow {
  readonly database: string;
}

/**
 * Creates each role with its password and a schema that only it can use, and the finance role
 * without a schema and without write access. `sql` is a connection to Twofold's database, of its
 * owner, who may create roles; of a superuser, too. Idempotent; a changed password takes effect.
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
    await becomeMember(sql, role);
    await sql`create schema if not exists ${sql(role)} authorization ${sql(role)}`;
    // migrate() runs `create schema if not exists`, which needs this right even if the schema
    // exists.
    await sql`grant create, temporary on database ${sql(database)} to ${sql(role)}`;
  }
  if (passwords.finance !== undefined) {
    await provisionRole(sql, FINANCE_ROLE, passwords.finance);
    await sql`alter role ${sql(FINANCE_ROLE)} set default_transaction_read_only = on`;
    await sql`alter role ${sql(FINANCE_ROLE)} set statement_timeout = '30s'`;
  }
}

// A superuser may give a schema to any role, everybody else only to one that he can be.
async function becomeMember(sql: Sql, role: DatabaseRole): Promise<void> {
  const rows = await sql<MembershipRow[]>`
    select pg_has_role(current_user, ${role}, 'set') as is_member`;
  if (onlyRow(rows, "the membership").is_member) return;
  await sql`grant ${sql(role)} to current_user with inherit false, set true`;
}

async function provisionRole(sql: Sql, role: string, password: string): Promise<void> {
  const [found] = await sql<RoleRow[]>`select rolname from pg_roles where rolname = ${role}`;
  if (!found) await sql`create role ${sql(role)} login`;
  await runFormatted(sql, "alter role %I password %L", role, password);
}
