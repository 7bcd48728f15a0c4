/**
 * What the books say about one recognised day, for the recount to be held against: the SQL of it.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import type { DayLine } from "../statement/day_line.ts";

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
  /** The accruals, and the newest statement when there is one. */
  readonly booked: readonly BookedLines[];
}

/** Reads the books of `day` (`YYYY-MM-DD`). */
export async function readBooksOfDay(sql: Sql, day: string): Promise<BooksOfDay> {
  return await sql.begin("isolation level repeatable read read only", async (tx) => {
    const [{ zone }] = await tx<{ zone: string }[]>`select zone from royalty.books`;
    const spans = await readSpans(tx, day);
    const statement = await readStatementLines(tx, day);
    const accruals = { name: "accruals", lines: await readAccruals(tx, day) };
    const [sealed] = await tx`select from royalty.seal where recognised_day = ${day}::text::date`;
    return {
      day,
      zone,
      state: statement ? "closed" : sealed ? "sealed" : "open",
      spans,
      booked: statement ? [accruals, statement] : [accruals],
    };
  });
}

// A day takes credits until the first seal of its own or a later day; it takes late ones of closed
// days from the seal of the day before on.
async function readSpans(tx: TransactionSql, day: string): Promise<StreamSpan[]> {
  const rows = await tx<{ stream: string; through: string; closed_through: string | null }[]>`
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

interface LineRow {
  event_day: string;
  title_id: string;
  territory: string;
  events: string;
  ms_watched: string;
}

async function readAccruals(tx: TransactionSql, day: string): Promise<DayLine[]> {
  const rows = await tx<LineRow[]>`
    select event_day::text, title_id, region as territory, events, ms_watched
    from royalty.accrual where recognised_day = ${day}::text::date`;
  return rows.map(lineOf);
}

async function readStatementLines(
  tx: TransactionSql,
  day: string,
): Promise<BookedLines | undefined> {
  const [newest] = await tx<{ version: number }[]>`
    select version from royalty.statement where recognised_day = ${day}::text::date
    order by version desc limit 1`;
  if (!newest) return undefined;
  const rows = await tx<LineRow[]>`
    select event_day::text, title_id, territory, events, ms_watched from royalty.statement_line
    where recognised_day = ${day}::text::date and version = ${newest.version}`;
  return { name: `statement version ${newest.version}`, lines: rows.map(lineOf) };
}

function lineOf(row: LineRow): DayLine {
  return {
    eventDay: row.event_day,
    titleId: row.title_id,
    territory: row.territory,
    events: BigInt(row.events),
    msWatched: BigInt(row.ms_watched),
  };
}
