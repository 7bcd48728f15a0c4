/**
 * The catalogue in Postgres: which studio a title is paid to.
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

/** What became of the titles of a catalogue. */
export interface PutTitles {
  readonly added: number;
  readonly changed: number;
  readonly unchanged: number;
}

/** Titles written at once: their parameters stay far from the longest that Postgres takes. */
const TITLES_AT_ONCE = 20_000;

/**
 * Puts `entries` into the catalogue, all or none; titles it does not name stay as they are. No title
 * may be there twice. `onProgress` is told of titles.
 */
export async function putCatalogue(
  sql: Sql,
  entries: readonly CatalogueEntry[],
  onProgress?: OnProgress,
): Promise<PutTitles> {
  const { added, changed } = await sql.begin(async (tx) => {
    const sum = { added: 0, changed: 0 };
    for (let at = 0; at < entries.length; at += TITLES_AT_ONCE) {
      const rows = await putTitles(tx, entries.slice(at, at + TITLES_AT_ONCE));
      const added = rows.filter(({ inserted }) => inserted).length;
      sum.added += added;
      sum.changed += rows.length - added;
      onProgress?.(Math.min(at + TITLES_AT_ONCE, entries.length), entries.length);
    }
    return sum;
  });
  return { added, changed, unchanged: entries.length - added - changed };
}

/** A row for each title that was not there, or not the same. */
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
