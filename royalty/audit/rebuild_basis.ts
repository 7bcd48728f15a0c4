/**
 * The SQL of a rebuild: what a closed day was made from, and the empty database it is made again in.
 *
 * @module
 */
import type { Sql } from "postgres";
import { Refused } from "../../shared/process/errors.ts";
import type { CatalogueEntry } from "../statement/catalogue.ts";
import { UNMAPPED } from "../statement/csv.ts";

/** Where the streams stood when a day was closed. */
export interface SealPoint {
  readonly day: string;
  /** Last sequence by stream. */
  readonly positions: ReadonlyMap<string, number>;
}

/** What the statement of a day was made from. */
export interface RebuildBasis {
  readonly zone: string;
  /** The newest version of the day's statement. */
  readonly version: number;
  readonly sha256: string;
  /** The catalogue as it was when that version was issued, as far as the day needs it. */
  readonly catalogue: readonly CatalogueEntry[];
  /** Every close up to the day's own, in order. */
  readonly seals: readonly SealPoint[];
}

/** Rejects with {@link Refused} when `day` has no statement. */
export async function readRebuildBasis(sql: Sql, day: string): Promise<RebuildBasis> {
  return await sql.begin("isolation level repeatable read read only", async (tx) => {
    const [statement] = await tx<{ zone: string; version: number; sha256: string }[]>`
      select b.zone, s.version, s.sha256 from royalty.statement s cross join royalty.books b
      where s.recognised_day = ${day}::text::date order by s.version desc limit 1`;
    if (!statement) {
      throw new Refused(`${day} has no statement yet, so there is nothing to rebuild`);
    }
    const titles = await tx<{ title_id: string; studio: string }[]>`
      select distinct title_id, studio from royalty.statement_line
      where recognised_day = ${day}::text::date and version = ${statement.version}
        and studio <> ${UNMAPPED}`;
    const rows = await tx<{ day: string; stream: string | null; last_seq: string | null }[]>`
      select s.recognised_day::text as day, p.stream, p.last_seq
      from royalty.seal s left join royalty.seal_position p using (recognised_day)
      where recognised_day <= ${day}::text::date order by s.recognised_day, p.stream`;
    return {
      ...statement,
      catalogue: titles.map((row) => ({
        titleId: row.title_id,
        studio: row.studio,
        titleName: undefined,
      })),
      seals: [...Map.groupBy(rows, (row) => row.day)].map(([sealed, positions]) => ({
        day: sealed,
        positions: new Map(
          positions.flatMap(({ stream, last_seq }) => stream ? [[stream, Number(last_seq)]] : []),
        ),
      })),
    };
  });
}

/** Rejects with {@link Refused} when the database holds anything. */
export async function checkEmpty(sql: Sql): Promise<void> {
  const [found] = await sql<{ name: string; more: number }[]>`
    select n.nspname || '.' || c.relname as name, count(*) over ()::int - 1 as more
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    order by 1 limit 1`;
  if (!found) return;
  throw new Refused(
    `the database to rebuild into is not empty: it has ${found.name} and ${found.more} more; ` +
      "name one that was made for this and holds nothing",
  );
}

/** From now on what is watched before `day` is recognised on it. */
export async function openFrom(sql: Sql, day: string): Promise<void> {
  await sql`update royalty.books set oldest_open_day = ${day}::text::date`;
}
