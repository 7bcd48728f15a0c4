/**
 * Numbered SQL migrations of a schema, safe to run from several processes at once.
 *
 * @module
 */
import type { Sql } from "postgres";
import { Stop } from "../errors.ts";

/** One migration of a schema. */
export interface Migration {
  /** `NNN_what_it_does`: the file name without `.sql`. */
  readonly name: string;
  /** Its statements. */
  readonly sql: string;
}

interface AppliedRow {
  readonly name: string;
}

/** Reads the migrations in `folder`, in order. Rejects with errors of the file system. */
export async function readMigrations(folder: URL): Promise<Migration[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (/^\d{3}_\w+\.sql$/.test(entry.name)) files.push(entry.name);
  }
  return await Promise.all(
    files.sort().map(async (file) => ({
      name: file.replace(/\.sql$/, ""),
      sql: await Deno.readTextFile(new URL(file, folder)),
    })),
  );
}

/**
 * Applies pending migrations to `schema` in one transaction and returns their names. Rejects with
 * {@link Stop} when the schema has migrations that this version does not know.
 */
export async function migrate(
  sql: Sql,
  schema: string,
  migrations: readonly Migration[],
): Promise<string[]> {
  const { names } = await sql.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock(hashtext(${`twofold migrate ${schema}`}))`;
    await tx`create schema if not exists ${tx(schema)}`;
    await tx`
      create table if not exists ${tx(schema)}.migration (
        name text primary key,
        applied_at timestamptz not null default now()
      )`;
    const rows = await tx<AppliedRow[]>`select name from ${tx(schema)}.migration`;
    const applied = new Set(rows.map((row) => row.name));
    const known = new Set(migrations.map((migration) => migration.name));
    const unknown = [...applied].filter((name) => !known.has(name));
    if (unknown.length > 0) {
      throw new Stop(
        `schema ${schema} has migrations this version does not know: ${unknown.join(", ")}. ` +
          "Start the newer version.",
      );
    }
    const pending = migrations.filter((migration) => !applied.has(migration.name));
    for (const { name, sql: text } of pending) {
      await tx.unsafe(text);
      await tx`insert into ${tx(schema)}.migration (name) values (${name})`;
    }
    return { names: pending.map((migration) => migration.name) };
  });
  return names;
}
