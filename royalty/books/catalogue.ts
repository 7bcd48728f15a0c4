/**
 * The catalogue in Postgres: which studio a title is paid to.
 *
 * @module
 */
import type { Sql } from "postgres";
import type { CatalogueEntry } from "../statement/catalogue.ts";
import { arrayOf, quoted } from "./array_literal.ts";

/** Puts `entries` into the catalogue, all or none; titles it does not name stay as they are. */
export async function putCatalogue(
  sql: Sql,
  entries: readonly CatalogueEntry[],
): Promise<{ readonly added: number; readonly changed: number; readonly unchanged: number }> {
  const text = (items: readonly (string | undefined)[]) =>
    arrayOf(items.map((item) => item === undefined ? "null" : quoted(item)));
  const rows = await sql<{ inserted: boolean }[]>`
    insert into royalty.title as t (title_id, studio, title_name)
    select * from unnest(
      ${text(entries.map(({ titleId }) => titleId))}::text::text[],
      ${text(entries.map(({ studio }) => studio))}::text::text[],
      ${text(entries.map(({ titleName }) => titleName))}::text::text[])
    on conflict (title_id) do update
    set studio = excluded.studio, title_name = excluded.title_name
    where (t.studio, t.title_name) is distinct from (excluded.studio, excluded.title_name)
    returning xmax = 0 as inserted`;
  const added = rows.filter(({ inserted }) => inserted).length;
  const changed = rows.length - added;
  return { added, changed, unchanged: entries.length - rows.length };
}
