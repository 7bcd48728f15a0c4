/**
 * The catalogue in Postgres, which maps titles to studios.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import type { OnProgress } from "../../shared/process/cli/progress.ts";
import type { CatalogueEntry } from "../statement/catalogue.ts";
import { textArrayOf } from "../../shared/process/postgres/array_literal.ts";

interface PutRow {
  readonly inserted: boolean;
}

/** Numbers of titles by the effect of {@link putCatalogue}. */
export interface PutTitles {
  readonly added: number;
  readonly changed: number;
  readonly unchanged: number;
}

/** Titles per statement, so that its parameters stay below the maximum size of Postgres. */
const CHUNK_TITLES = 20_000;

/**
 * Inserts or updates `entries` in the catalogue, all or none. Other titles are not changed. Each title
 * may occur once. `onProgress` receives the number of titles written. Rejects with the error of
 * Postgres.
 */
export async function putCatalogue(
  sql: Sql,
  entries: readonly CatalogueEntry[],
  onProgress?: OnProgress,
): Promise<PutTitles> {
  const { added, changed } = await sql.begin(async (tx) => {
    const sum = { added: 0, changed: 0 };
    for (let at = 0; at < entries.length; at += CHUNK_TITLES) {
      const rows = await putTitles(tx, entries.slice(at, at + CHUNK_TITLES));
      const added = rows.filter(({ inserted }) => inserted).length;
      sum.added += added;
      sum.changed += rows.length - added;
      onProgress?.(Math.min(at + CHUNK_TITLES, entries.length), entries.length);
    }
    return sum;
  });
  return { added, changed, unchanged: entries.length - added - changed };
}

/** Returns a row for each title that was inserted or changed. */
async function putTitles(
  sql: TransactionSql,
  entries: readonly CatalogueEntry[],
): Promise<readonly PutRow[]> {
  return await sql<PutRow[]>`
    insert into royalty.title as t (title_id, studio, title_name)
    select * from unnest(
      ${textArrayOf(entries.map(({ titleId }) => titleId))}::text::text[],
      ${textArrayOf(entries.map(({ studio }) => studio))}::text::text[],
      ${textArrayOf(entries.map(({ titleName }) => titleName))}::text::text[])
    on conflict (title_id) do update
    set studio = excluded.studio, title_name = excluded.title_name
    where (t.studio, t.title_name) is distinct from (excluded.studio, excluded.title_name)
    returning xmax = 0 as inserted`;
}
