/**
 * The SQL of a rebuild: what a closed day was made from, and the empty database it is made again in.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import { Refused } from "../../shared/process/errors.ts";
import { patiently } from "../../shared/process/postgres/pool.ts";
import { readZone, WHOLE_DAY_MS } from "../books/connection.ts";
import { readEntries } from "../books/statements.ts";
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

interface TitleRow {
  readonly title_id: string;
  readonly studio: string;
}

interface SealRow {
  readonly day: string;
  /** Null for a seal made before there was a stream; then `last_seq` is too. */
  readonly stream: string | null;
  readonly last_seq: string | null;
}

interface TableRow {
  readonly name: string;
  /** How many others there are. */
  readonly more: number;
}

/** Rejects with {@link Refused} when `day` has no statement. */
export async function readRebuildBasis(sql: Sql, day: string): Promise<RebuildBasis> {
  return await patiently(
    sql,
    WHOLE_DAY_MS,
    () =>
      sql.begin("isolation level repeatable read read only", async (tx) => {
        const [statement] = await readEntries(tx, day, 1);
        if (!statement) {
          throw new Refused(`${day} has no statement yet, so there is nothing to rebuild`);
        }
        const { version, csvSha256 } = statement;
        return {
          zone: await readZone(tx),
          version,
          sha256: csvSha256,
          catalogue: await readStatementTitles(tx, day, version),
          seals: await readSealPoints(tx, day),
        };
      }),
  );
}

async function readStatementTitles(
  tx: TransactionSql,
  day: string,
  version: number,
): Promise<CatalogueEntry[]> {
  const rows = await tx<TitleRow[]>`
    select distinct title_id, studio from royalty.statement_line
    where recognised_day = ${day}::text::date and version = ${version}
      and studio <> ${UNMAPPED}`;
  return rows.map((row) => ({ titleId: row.title_id, studio: row.studio, titleName: undefined }));
}

async function readSealPoints(tx: TransactionSql, day: string): Promise<SealPoint[]> {
  const rows = await tx<SealRow[]>`
    select s.recognised_day::text as day, p.stream, p.last_seq
    from royalty.seal s left join royalty.seal_position p using (recognised_day)
    where recognised_day <= ${day}::text::date order by s.recognised_day, p.stream`;
  return [...Map.groupBy(rows, (row) => row.day)].map(([sealed, positions]) => ({
    day: sealed,
    positions: new Map(
      positions.flatMap(({ stream, last_seq }) => stream ? [[stream, Number(last_seq)]] : []),
    ),
  }));
}

/** Rejects with {@link Refused} when the database holds anything. */
export async function checkEmpty(sql: Sql): Promise<void> {
  const [found] = await sql<TableRow[]>`
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
