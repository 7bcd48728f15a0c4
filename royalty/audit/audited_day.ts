/**
 * Reads the books of a day for its audit, in one snapshot.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import type { AuditedDay, BookedStatement } from "./audit.ts";
import { readZone, WHOLE_DAY_MS } from "../books/connection.ts";
import { readOpenGaps } from "../books/gaps.ts";
import { readStatementLines, readStored } from "../books/statements.ts";
import { readRecognisedLines } from "../books/lines.ts";
import { readRanges, readSeal } from "../books/seals.ts";
import { allowSilence } from "../../shared/process/postgres/pool.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";

/** The range of recognised days. */
interface KnownDaysRow {
  /** Null while the books are empty; so is `last`. */
  readonly first: string | null;
  readonly last: string | null;
}

/** Reads the input of an audit of `day` (`YYYY-MM-DD`). Rejects with the error of Postgres. */
export async function readAuditedDay(sql: Sql, day: string): Promise<AuditedDay> {
  return await allowSilence(
    sql,
    WHOLE_DAY_MS,
    () =>
      sql.begin("isolation level repeatable read read only", async (tx) => {
        const { first, last } = await readKnownDays(tx);
        return {
          day,
          zone: await readZone(tx),
          known: first === null || last === null ? undefined : { first, last },
          sealedAsOfMs: (await readSeal(tx, day))?.asOfMs,
          statement: await readBookedStatement(tx, day),
          credits: await readRecognisedLines(tx, day),
          ranges: await readRanges(tx, day),
          openGaps: await readOpenGaps(tx),
        };
      }),
  );
}

async function readKnownDays(tx: TransactionSql): Promise<KnownDaysRow> {
  const rows = await tx<KnownDaysRow[]>`
    select least(a.first, s.first)::text as first, greatest(a.last, s.last)::text as last
    from
      (select min(recognised_day) as first, max(recognised_day) as last
        from royalty.accrual) a,
      (select min(recognised_day) as first, max(recognised_day) as last
        from royalty.statement) s`;
  return onlyRow(rows, "the days of the books");
}

async function readBookedStatement(
  tx: TransactionSql,
  day: string,
): Promise<BookedStatement | undefined> {
  const stored = await readStored(tx, day);
  return stored && { ...stored, lines: await readStatementLines(tx, day, stored.version) };
}
