/**
 * Gaps in the books: sequences that a stream lost before they were counted.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import type { Queryable } from "../../shared/process/postgres/pool.ts";
import { recordAct } from "./acts.ts";

/** A gap that is not settled: sequences that a stream lost, both ends included. */
export interface OpenGap {
  readonly stream: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

interface OpenGapRow {
  readonly stream: string;
  readonly first_seq: string;
  readonly last_seq: string;
}

/** Reads the gaps that are not settled, by stream and sequence. */
export async function readOpenGaps(sql: Queryable): Promise<OpenGap[]> {
  const rows = await sql<OpenGapRow[]>`
    select stream, first_seq, last_seq from royalty.gap
    where settled_at is null order by stream, first_seq`;
  return rows.map((row) => ({
    stream: row.stream,
    firstSeq: Number(row.first_seq),
    lastSeq: Number(row.last_seq),
  }));
}

/** The result of {@link settleGap}. */
export type GapSettlementResult =
  | { readonly kind: "settled"; readonly gap: OpenGap }
  | { readonly kind: "settled before"; readonly by: string; readonly reason: string }
  | { readonly kind: "no such gap" };

/** The settlement of a gap. */
export interface GapSettlement {
  readonly stream: string;
  /** The first sequence of the gap. */
  readonly firstSeq: number;
  /** The person who takes responsibility. */
  readonly by: string;
  readonly reason: string;
}

interface SettledRow {
  readonly last_seq: string;
}

interface SettledBeforeRow {
  readonly settled_by: string;
  readonly settled_reason: string;
}

async function settleOpenGap(
  tx: TransactionSql,
  { stream, firstSeq, by, reason }: GapSettlement,
): Promise<OpenGap | undefined> {
  const [settled] = await tx<SettledRow[]>`
    update royalty.gap
    set settled_by = ${by}, settled_reason = ${reason}, settled_at = clock_timestamp()
    where stream = ${stream} and first_seq = ${firstSeq} and settled_at is null
    returning last_seq`;
  if (settled === undefined) return undefined;
  const lastSeq = Number(settled.last_seq);
  const subject = `${stream} ${firstSeq} to ${lastSeq}`;
  await recordAct(tx, { kind: "settle-gap", by, reason, subject });
  return { stream, firstSeq, lastSeq };
}

/** Settles the open gap of `stream` that begins at `firstSeq`. */
export async function settleGap(
  sql: Sql,
  settlement: GapSettlement,
): Promise<GapSettlementResult> {
  const { stream, firstSeq } = settlement;
  const gap = await sql.begin((tx) => settleOpenGap(tx, settlement));
  if (gap !== undefined) return { kind: "settled", gap };
  const [before] = await sql<SettledBeforeRow[]>`
    select settled_by, settled_reason from royalty.gap
    where stream = ${stream} and first_seq = ${firstSeq}`;
  return before
    ? { kind: "settled before", by: before.settled_by, reason: before.settled_reason }
    : { kind: "no such gap" };
}
