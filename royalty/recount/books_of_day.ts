/**
 * Reads what the books have for one recognised day, to compare the recount with.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import { allowSilence } from "../../shared/process/postgres/pool.ts";
import { readZone, WHOLE_DAY_MS } from "../books/connection.ts";
import { readDayLines } from "../books/lines.ts";
import { readSeal } from "../books/seals.ts";
import { readEntries, readStatementLines } from "../books/statements.ts";
import { type DayLine, dayLineOf } from "../statement/day_line.ts";

/** The lines of the day in one place of the books. */
export interface BookedLines {
  /** `accruals` or `statement version N`. */
  readonly name: string;
  readonly lines: readonly DayLine[];
}

/** The sequences of a stream that may be recognised on the day. */
export interface StreamSpan {
  readonly stream: string;
  /** The last sequence posted while the day could be credited. */
  readonly through: number;
  /** The last sequence posted before the seal of the day before; undefined when it is not sealed. */
  readonly closedThrough: number | undefined;
}

/** The books of one day, read in one snapshot. */
export interface BooksOfDay {
  readonly day: string;
  readonly zone: string;
  /** `open`, `sealed` (takes no more credits), or `closed` (has a statement). */
  readonly state: "open" | "sealed" | "closed";
  readonly spans: readonly StreamSpan[];
  /** The accruals, then the newest statement when there is one. */
  readonly booked: readonly [accruals: BookedLines, ...statements: BookedLines[]];
}

/** Reads the books of `day` (`YYYY-MM-DD`). Rejects with the error of Postgres. */
export async function readBooksOfDay(sql: Sql, day: string): Promise<BooksOfDay> {
  return await allowSilence(
    sql,
    WHOLE_DAY_MS,
    () =>
      sql.begin("isolation level repeatable read read only", async (tx) => {
        const statement = await readNewestStatement(tx, day);
        const accruals = { name: "accruals", lines: await readDayLines(tx, day) };
        const isSealed = (await readSeal(tx, day)) !== undefined;
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

// A day takes credits until the seal of its own or a later day, and adjustments from the seal of the
// day before on.
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
