/**
 * Reads the credits of a recognised day as statement lines.
 *
 * @module
 */
import type { Queryable } from "../../shared/process/postgres/pool.ts";
import type { StatementLine } from "../statement/statement_csv.ts";
import { type DayLine, dayLineOf } from "../statement/day_line.ts";

/** Reads the lines recognised on `day` (`YYYY-MM-DD`), in the order of a statement. */
export async function readRecognisedLines(
  sql: Queryable,
  day: string,
): Promise<StatementLine[]> {
  const rows = sql<StatementRow[]>`
    select recognised_day::text, event_day::text, studio, title_id, region, events, ms_watched
    from royalty.day_line d
    where recognised_day = ${day}::text::date
    order by d.event_day desc, studio collate "C" nulls last, title_id collate "C",
      region collate "C"`;
  const lines: StatementLine[] = [];
  await rows.cursor(CURSOR_ROWS, (some) => {
    for (const row of some) lines.push(lineOf(row));
  });
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

/** Rows per fetch: a day may have millions, and the driver's rows take more memory than lines. */
const CURSOR_ROWS = 5_000;

interface StatementRow {
  readonly recognised_day: string;
  readonly event_day: string;
  readonly studio: string | null;
  readonly title_id: string;
  readonly region: string;
  readonly events: string;
  readonly ms_watched: string;
}

/** Reads the credits of `day` (`YYYY-MM-DD`) without studios, in the order of a statement. */
export async function readDayLines(sql: Queryable, day: string): Promise<DayLine[]> {
  const lines = await readRecognisedLines(sql, day);
  return lines.map(dayLineOf);
}
