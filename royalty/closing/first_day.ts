/**
 * The first day that gets a statement. A person decides it, because one heartbeat of a device with a
 * wrong clock would otherwise make a statement of each day since.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import { Refused } from "../../shared/process/errors.ts";
import { withRetryable } from "../../shared/process/postgres/transient.ts";
import { type Act, recordAct } from "../books/acts.ts";
import { readClosingState } from "./sealing.ts";

interface OpenedRow {
  /** Nothing. */
  readonly opened: "";
}

/**
 * Makes `day` (`YYYY-MM-DD`) the first that gets a statement. What is credited to earlier days becomes
 * adjustments of it. Rejects with {@link Refused} when a first day was decided, or a day is closed.
 */
export async function openFirstDay(
  sql: Sql,
  day: string,
  deed: Pick<Act, "by" | "reason">,
): Promise<void> {
  await withRetryable(() => sql.begin((tx) => open(tx, day, deed)));
}

async function open(
  tx: TransactionSql,
  day: string,
  deed: Pick<Act, "by" | "reason">,
): Promise<void> {
  const { oldestOpenDay } = await readClosingState(tx);
  if (oldestOpenDay !== undefined) {
    throw new Refused(`the books are open since before: ${oldestOpenDay} is the oldest open day`);
  }
  await tx<OpenedRow[]>`select royalty.open_first_day(${day}::text::date) as opened`;
  await recordAct(tx, { kind: "open", subject: day, ...deed });
}
