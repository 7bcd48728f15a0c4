/**
 * What the books say about one recognised day, for the recount to be held against: the SQL of it.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import { patiently } from "../../shared/process/postgres/pool.ts";
import { readZone, WHOLE_DAY_MS } from "../books/connection.ts";
import { readDayLines } from "../books/lines.ts";
import { readSealedAsOf } from "../books/seals.ts";
import { readEntries, readStatementLines } from "../books/statements.ts";
import { type DayLine, dayLineOf } from "../statement/day_line.ts";

/** One place where the day's lines are written down. */
export interface BookedLines {
  /** `accruals` or `statement version N`. */
  readonly name: string;
  readonly lines: readonly DayLine[];
}

/** How far a stream was posted when a day could last be credited, and when it could first. */
export interface StreamSpan {
  readonly stream: string;
  readonly through: number;
  /** Undefined when the day before is not closed. */
  readonly closedThrough: number | undefined;
}

/** The books of one day, in one snapshot. */
export interface BooksOfDay {
  readonly day: string;
  readonly zone: string;
  /** `open`, `sealed` (being closed), or `closed` with a statement. */
  readonly state: "open" | "sealed" | "closed";
  readonly spans: readonly StreamSpan[];
  /** The accruals, then the newest statement when there is one. */
  readonly booked: readonly [accruals: BookedLines, ...statements: BookedLines[]];
}

/** Reads the books of `day` (`YYYY-MM-DD`). */
export async function readBooksOfDay(sql: Sql, day: string): Promise<BooksOfDay> {
  return await patiently(
    sql,
    WHOLE_DAY_MS,
    () =>
      sql.begin("isolation level repeatable read read only", async (tx) => {
        const statement = await readNewestStatement(tx, day);
        const accruals = { name: "accruals", lines: await readDayLines(tx, day) };
        const isSealed = (await readSealedAsOf(tx, day)) !== undefined;
        return {
          day,
          zone: await readZone(tx),
          state: statement ? "closed" : isSealed ? "sealed" : "open",
          spans: await readSpans(tx, day),
          booked: statement ? [accruals, statement] : [accruals],
        };
      }),
  );
}

interface SpanRow {
  readonly stream: string;
  readonly through: string;
  readonly closed_through: string | null;
}

// A day takes credits until the first seal of its own or a later day; it takes late ones of closed
// days from the seal of the day before on.
async function readSpans(tx: TransactionSql, day: string): Promise<StreamSpan[]> {
  const rows = await tx<SpanRow[]>`
    with ending as (
      select min(recognised_day) as day from royalty.seal
      where recognised_day >= ${day}::text::date
    )
    select p.stream,
      case when ending.day is null then p.last_seq else coalesce(ends.last_seq, 0) end as through,
      case when opening.recognised_day is not null then coalesce(begins.last_seq, 0) end
        as closed_through
    from royalty.stream_position p cross join ending
    left join royalty.seal_position ends
      on ends.stream = p.stream and ends.recognised_day = ending.day
    left join royalty.seal opening on opening.recognised_day = ${day}::text::date - 1
    left join royalty.seal_position begins
      on begins.stream = p.stream and begins.recognised_day = opening.recognised_day
    order by p.stream`;
  return rows.map((row) => ({
    stream: row.stream,
    through: Number(row.through),
    closedThrough: row.closed_through === null ? undefined : Number(row.closed_through),
  }));
}

async function readNewestStatement(
  tx: TransactionSql,
  day: string,
): Promise<BookedLines | undefined> {
  const [newest] = await readEntries(tx, day, 1);
  if (!newest) return undefined;
  const lines = await readStatementLines(tx, day, newest.version);
  return { name: `statement version ${newest.version}`, lines: lines.map(dayLineOf) };
}
