/**
 * Numbered SQL migrations of a schema, safe to run from several processes at once.
 *
 * @module
 */
import type { Sql } from "postgres";
import { RetryAfter, Stop } from "../errors.ts";
import { isSchemaMissing, stateOf } from "./transient.ts";

/** SQLSTATE of a right that is missing, as before the first provisioning. */
const NO_RIGHT = "42501";
/** Wait until the schema is looked at again. */
const CHECK_AGAIN_MS = 2_000;

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
 * Applies pending migrations to `schema`, then `rights`, in one transaction, and returns their names.
 * Rejects with {@link Stop} when the schema has migrations that this version does not know.
 *
 * @param rights statements that say what each role may do; they run every time
 */
export async function migrate(
  sql: Sql,
  schema: string,
  migrations: readonly Migration[],
  rights = "",
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
    const pending = pendingOf(schema, migrations, rows);
    for (const { name, sql: text } of pending) {
      await tx.unsafe(text);
      await tx`insert into ${tx(schema)}.migration (name) values (${name})`;
    }
    if (rights !== "") await tx.unsafe(rights);
    return { names: pending.map((migration) => migration.name) };
  });
  return names;
}

/** Those of `migrations` that are not applied. Throws {@link Stop} when others are. */
function pendingOf(
  schema: string,
  migrations: readonly Migration[],
  rows: readonly AppliedRow[],
): Migration[] {
  const applied = new Set(rows.map((row) => row.name));
  const known = new Set(migrations.map((migration) => migration.name));
  const unknown = [...applied].filter((name) => !known.has(name));
  if (unknown.length > 0) {
    throw new Stop(
      `schema ${schema} has migrations this version does not know: ${unknown.join(", ")}. ` +
        "Start the newer version.",
    );
  }
  return migrations.filter((migration) => !applied.has(migration.name));
}

/**
 * Checks that all `migrations` are applied to `schema`, for a role that may not apply them. Rejects
 * with {@link RetryAfter} when some are missing, with {@link Stop} when the schema has others.
 */
export async function checkMigrated(
  sql: Sql,
  schema: string,
  migrations: readonly Migration[],
): Promise<void> {
  const rows = await sql<AppliedRow[]>`select name from ${sql(schema)}.migration`
    .catch((error) => {
      if (!isSchemaMissing(error) && stateOf(error) !== NO_RIGHT) throw error;
      return [];
    });
  const [pending] = pendingOf(schema, migrations, rows);
  if (pending === undefined) return;
  throw new RetryAfter(
    `schema ${schema} lacks ${pending.name}: run deno task provision of this version`,
    CHECK_AGAIN_MS,
  );
}
