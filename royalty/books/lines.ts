/**
 * The credits of a day, as the lines of a statement.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import type { StatementLine } from "../statement/csv.ts";
import type { DayLine } from "../statement/day_line.ts";
import type { Queryable } from "./connection.ts";

/** The lines recognised on `day` (`YYYY-MM-DD`), in the order of a statement. */
export async function readRecognisedLines(
  sql: Sql | TransactionSql,
  day: string,
): Promise<StatementLine[]> {
  const rows = sql<StatementRow[]>`
    select a.recognised_day::text, a.event_day::text, t.studio, a.title_id, a.region, a.events,
      a.ms_watched
    from royalty.accrual a left join royalty.title t using (title_id)
    where a.recognised_day = ${day}::text::date
    order by a.event_day desc, t.studio collate "C" nulls last, a.title_id collate "C",
      a.region collate "C"`;
  const lines: StatementLine[] = [];
  for await (const some of rows.cursor(ROWS_AT_ONCE)) {
    for (const row of some) lines.push(lineOf(row));
  }
  return lines;
}

function lineOf(row: StatementRow): StatementLine {
  return {
    recognisedDay: row.recognised_day,
    eventDay: row.event_day,
    studio: row.studio ?? undefined,
    titleId: row.title_id,
    territory: row.region,
    events: BigInt(row.events),
    msWatched: BigInt(row.ms_watched),
  };
}

// A statement may have millions of lines; the driver's rows of them take more than the lines do.
const ROWS_AT_ONCE = 5_000;

interface StatementRow {
  recognised_day: string;
  event_day: string;
  studio: string | null;
  title_id: string;
  region: string;
  events: string;
  ms_watched: string;
}

/** The credits of `day`. */
export async function readDayLines(sql: Queryable, day: string): Promise<DayLine[]> {
  const lines = await readRecognisedLines(sql, day);
  return lines.map(({ eventDay, titleId, territory, events, msWatched }) => ({
    eventDay,
    titleId,
    territory,
    events,
    msWatched,
  }));
}
