/**
 * Postgres roles: one per service with a schema of its own, made by provisioning.
 *
 * @module
 */
import type { Sql } from "postgres";

/** The services that keep state in Postgres; role, schema and service share the name. */
export const DATABASE_ROLES = ["royalty", "triage"] as const;
export type DatabaseRole = typeof DATABASE_ROLES[number];

/**
 * Makes each role with its password and a schema only it can use. `sql` is a superuser's connection
 * to Twofold's database. Idempotent; a changed password takes effect.
 */
export async function provisionRoles(
  sql: Sql,
  passwords: Readonly<Record<DatabaseRole, string>>,
): Promise<void> {
  await sql`revoke all on schema public from public`;
  for (const role of DATABASE_ROLES) {
    const [exists] = await sql`select 1 from pg_roles where rolname = ${role}`;
    if (!exists) await sql`create role ${sql(role)} login`;
    // A utility statement takes no parameters, so the server quotes the password itself.
    const [{ statement }] = await sql<{ statement: string }[]>`
      select format('alter role %I password %L', ${role}::text, ${
      passwords[role]
    }::text) as statement`;
    await sql.unsafe(statement);
    await sql`create schema if not exists ${sql(role)} authorization ${sql(role)}`;
    // migrate() says `create schema if not exists`, which asks for this right even when it exists.
    const [{ database }] = await sql<{ database: string }[]>`select current_database() as database`;
    await sql`grant create on database ${sql(database)} to ${sql(role)}`;
  }
}
