/**
 * Provisioning of Postgres roles and schemas: who owns what, who posts, who issues, who only reads.
 *
 * @module
 */
import type { Sql } from "postgres";
import { migrate, readMigrations } from "../process/postgres/migrate.ts";
import { allowSilence } from "../process/postgres/pool.ts";
import { runFormatted } from "../process/postgres/formatted.ts";
import { onlyRow } from "../process/postgres/rows.ts";

/** The roles that log in, besides the one that reads statements. */
export const DATABASE_ROLES = ["royalty", "issuer", "triage"] as const;
/** A role of a service, or of who closes days. */
export type DatabaseRole = typeof DATABASE_ROLES[number];

/** The role that reads statements. */
export const FINANCE_ROLE = "finance";

/**
 * Each schema and the role that owns it. Royalty's is nobody who logs in: who posts and who issues own
 * nothing, so neither can switch a guard off.
 */
const SCHEMA_OWNERS = { royalty: "royalty_owner", triage: "triage" } as const;

/** The password of each role. */
export interface RolePasswords extends Readonly<Record<DatabaseRole, string>> {
  /** If undefined, the finance role is not created. */
  readonly finance?: string | undefined;
}

/** Maximum silence of Postgres during a migration. */
const MIGRATION_MS = 600_000;

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
 * Creates each role with its password, the schemas with their owners, and what is in the schema of
 * royalty: its migrations and what each role may do there. `sql` is one connection to Twofold's
 * database, of its owner, who may create roles; of a superuser, too. Idempotent; a changed password
 * takes effect.
 */
export async function provisionRoles(sql: Sql, passwords: RolePasswords): Promise<void> {
  const { database } = onlyRow(
    await sql<CurrentDatabaseRow[]>`select current_database() as database`,
    "the current database",
  );
  await sql`revoke all on schema public from public`;
  await sql`revoke temporary on database ${sql(database)} from public`;
  for (const role of DATABASE_ROLES) await provisionRole(sql, role, passwords[role]);
  if (passwords.finance !== undefined) await provisionFinance(sql, passwords.finance);
  await createRole(sql, SCHEMA_OWNERS.royalty, "nologin");
  for (const [schema, owner] of Object.entries(SCHEMA_OWNERS)) {
    await becomeMember(sql, owner);
    await sql`create schema if not exists ${sql(schema)} authorization ${sql(owner)}`;
    // migrate() runs `create schema if not exists`, which needs this right even if the schema
    // exists.
    await sql`grant create, temporary on database ${sql(database)} to ${sql(owner)}`;
  }
  // A catalogue is compared in temporary tables.
  await sql`grant temporary on database ${sql(database)} to issuer`;
  await takeBooksOver(sql, database);
  await migrateBooks(sql);
}

interface OwnerRow {
  readonly owner: string;
}

// In an earlier installation the role of the service owned the books.
async function takeBooksOver(sql: Sql, database: string): Promise<void> {
  const [schema] = await sql<OwnerRow[]>`
    select pg_get_userbyid(nspowner) as owner from pg_namespace where nspname = 'royalty'`;
  if (schema?.owner !== "royalty") return;
  for (const role of ["royalty", SCHEMA_OWNERS.royalty]) {
    await sql`grant ${sql(role)} to current_user with inherit true, set true`;
  }
  await sql`reassign owned by royalty to ${sql(SCHEMA_OWNERS.royalty)}`;
  await sql`revoke create, temporary on database ${sql(database)} from royalty`;
}

/** The schema of the books, and what each role may do with it. */
const BOOKS = new URL("../../royalty/migrations/", import.meta.url);

async function migrateBooks(sql: Sql): Promise<void> {
  const migrations = await readMigrations(BOOKS);
  const rights = await Deno.readTextFile(new URL("grants.sql", BOOKS));
  await sql`set role ${sql(SCHEMA_OWNERS.royalty)}`;
  try {
    await allowSilence(sql, MIGRATION_MS, () => migrate(sql, "royalty", migrations, rights));
  } finally {
    await sql`reset role`;
  }
}

// A superuser may give a schema to any role, everybody else only to one that he can be.
async function becomeMember(sql: Sql, role: string): Promise<void> {
  const rows = await sql<MembershipRow[]>`
    select pg_has_role(current_user, ${role}, 'set') as is_member`;
  if (onlyRow(rows, "the membership").is_member) return;
  await sql`grant ${sql(role)} to current_user with inherit false, set true`;
}

async function provisionFinance(sql: Sql, password: string): Promise<void> {
  await provisionRole(sql, FINANCE_ROLE, password);
  await sql`alter role ${sql(FINANCE_ROLE)} set default_transaction_read_only = on`;
  await sql`alter role ${sql(FINANCE_ROLE)} set statement_timeout = '30s'`;
}

async function provisionRole(sql: Sql, role: string, password: string): Promise<void> {
  await createRole(sql, role, "login");
  await runFormatted(sql, "alter role %I password %L", role, password);
}

async function createRole(sql: Sql, role: string, may: "login" | "nologin"): Promise<void> {
  const [found] = await sql<RoleRow[]>`select rolname from pg_roles where rolname = ${role}`;
  if (found) return;
  await (may === "login"
    ? sql`create role ${sql(role)} login`
    : sql`create role ${sql(role)} nologin`);
}
