/**
 * What an audit of one day reads in the books: the SQL of it, in one snapshot.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import type { AuditedDay, BookedStatement } from "./audit.ts";
import { readOpenGaps } from "../books/gaps.ts";
import { readStatementLines, readStored } from "../books/statements.ts";
import { readRecognisedLines } from "../books/lines.ts";
import type { StreamRange } from "../statement/manifest.ts";

/** Reads the books of `day` (`YYYY-MM-DD`) and of what was entered since the day before it closed. */
export async function readAuditedDay(sql: Sql, day: string): Promise<AuditedDay> {
  return await sql.begin("isolation level repeatable read read only", async (tx) => {
    const [books] = await tx<{ zone: string; first: string | null; last: string | null }[]>`
      select b.zone, least(a.first, s.first)::text as first, greatest(a.last, s.last)::text as last
      from royalty.books b,
        (select min(recognised_day) as first, max(recognised_day) as last
          from royalty.accrual) a,
        (select min(recognised_day) as first, max(recognised_day) as last
          from royalty.statement) s`;
    const [seal] = await tx<{ as_of: Date }[]>`
      select as_of from royalty.seal where recognised_day = ${day}::text::date`;
    return {
      day,
      zone: books.zone,
      known: books.first === null ? undefined : { first: books.first, last: books.last! },
      sealedAsOf: seal?.as_of.getTime(),
      statement: await readBookedStatement(tx, day),
      credits: await readRecognisedLines(tx, day),
      ranges: await readRanges(tx, day),
      openGaps: await readOpenGaps(tx),
    };
  });
}

async function readBookedStatement(
  tx: TransactionSql,
  day: string,
): Promise<BookedStatement | undefined> {
  const stored = await readStored(tx, day);
  return stored && { ...stored, lines: await readStatementLines(tx, day, stored.version) };
}

// From the newest seal before the day to the seal of the day, or to where the books are now.
async function readRanges(tx: TransactionSql, day: string): Promise<StreamRange[]> {
  const rows = await tx<(Record<keyof StreamRange, string>)[]>`
    with ends as (
      select stream, last_seq, counted, duplicates, quarantined, gaps from royalty.seal_position
      where recognised_day = ${day}::text::date
      union all
      select stream, last_seq, counted, duplicates, quarantined, gaps from royalty.stream_position
      where not exists (select from royalty.seal where recognised_day = ${day}::text::date)
    ), begins as (
      select * from royalty.seal_position where recognised_day = (
        select max(recognised_day) from royalty.seal where recognised_day < ${day}::text::date)
    )
    select e.stream, coalesce(b.last_seq, 0) + 1 as first_seq, e.last_seq,
      e.counted - coalesce(b.counted, 0) as counted,
      e.duplicates - coalesce(b.duplicates, 0) as duplicates,
      e.quarantined - coalesce(b.quarantined, 0) as quarantined,
      e.gaps - coalesce(b.gaps, 0) as gaps
    from ends e left join begins b using (stream) order by e.stream collate "C"`;
  return rows.map((row) => ({
    stream: row.stream,
    first_seq: Number(row.first_seq),
    last_seq: Number(row.last_seq),
    counted: Number(row.counted),
    duplicates: Number(row.duplicates),
    quarantined: Number(row.quarantined),
    gaps: Number(row.gaps),
  }));
}
