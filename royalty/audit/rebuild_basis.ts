/**
 * The SQL of a rebuild: reads what a closed day was made from, and prepares the target database.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import { Refused } from "../../shared/process/errors.ts";
import { allowSilence } from "../../shared/process/postgres/pool.ts";
import { readZone, WHOLE_DAY_MS } from "../books/connection.ts";
import { readEntries } from "../books/statements.ts";
import type { Right } from "../statement/catalogue.ts";
import { UNMAPPED } from "../statement/statement_csv.ts";

/** The positions of the streams at the seal of a day. */
export interface SealPoint {
  readonly day: string;
  /** Last sequence by stream. */
  readonly positions: ReadonlyMap<string, number>;
}

/** What is needed to rebuild a day. */
export interface RebuildBasis {
  readonly zone: string;
  /** The newest version of the day's statement. */
  readonly version: number;
  /** SHA-256 of its CSV. */
  readonly sha256: string;
  /** The studios that this version has for the lines of the day. */
  readonly rights: readonly Right[];
  /** Every seal up to the day's own, in order. */
  readonly seals: readonly SealPoint[];
}

interface RightRow {
  readonly title_id: string;
  readonly territory: string;
  readonly event_day: string;
  readonly studio: string;
}

interface SealRow {
  readonly day: string;
  /** Null when no stream existed at the seal; so is `last_seq`. */
  readonly stream: string | null;
  readonly last_seq: string | null;
}

interface TableRow {
  readonly name: string;
  /** Number of other tables. */
  readonly more: number;
}

/** Reads what is needed to rebuild `day`. Rejects with {@link Refused} when it has no statement. */
export async function readRebuildBasis(sql: Sql, day: string): Promise<RebuildBasis> {
  return await allowSilence(
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
          rights: await readStatementRights(tx, day, version),
          seals: await readSealPoints(tx, day),
        };
      }),
  );
}

async function readStatementRights(
  tx: TransactionSql,
  day: string,
  version: number,
): Promise<Right[]> {
  const rows = await tx<RightRow[]>`
    select title_id, territory, event_day::text, studio from royalty.statement_line
    where recognised_day = ${day}::text::date and version = ${version}
      and studio <> ${UNMAPPED}`;
  return rows.map((row) => ({
    titleId: row.title_id,
    territory: row.territory,
    studio: row.studio,
    from: row.event_day,
    to: row.event_day,
    titleName: undefined,
  }));
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

/** Rejects with {@link Refused} when the database has any table. */
export async function checkEmpty(sql: Sql): Promise<void> {
  const [found] = await sql<TableRow[]>`
    select n.nspname || '.' || c.relname as name, count(*) over ()::int - 1 as more
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    order by 1 limit 1`;
  if (!found) return;
  throw new Refused(
    `the database of --into is not empty: it has ${found.name} and ${found.more} more; ` +
      "use a newly created database",
  );
}

/** Makes `day` the oldest open day, on which events of earlier days are recognised. */
export async function openFrom(sql: Sql, day: string): Promise<void> {
  await sql`update royalty.books set oldest_open_day = ${day}::text::date`;
}
