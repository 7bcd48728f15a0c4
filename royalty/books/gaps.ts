/**
 * Gaps in the books: sequences that a stream lost before they were counted.
 *
 * @module
 */
import type { Sql } from "postgres";
import type { Queryable } from "../../shared/process/postgres/pool.ts";

/** Sequences that a stream lost and nobody has settled. */
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

/** Gaps that nobody has settled. */
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

/** What came of settling a gap. */
export type Settling =
  | { readonly kind: "settled"; readonly gap: OpenGap }
  | { readonly kind: "settled before"; readonly by: string; readonly reason: string }
  | { readonly kind: "no such gap" };

/** Who answers for which gap. */
export interface GapSettlement {
  readonly stream: string;
  readonly firstSeq: number;
  readonly by: string;
  readonly reason: string;
  /** Ms since the epoch. */
  readonly at: number;
}

interface SettledRow {
  readonly last_seq: string;
}

interface SettledBeforeRow {
  readonly settled_by: string;
  readonly settled_reason: string;
}

/** Settles the open gap that begins at `firstSeq` of `stream`: `by` answers for it. */
export async function settleGap(
  sql: Sql,
  { stream, firstSeq, by, reason, at }: GapSettlement,
): Promise<Settling> {
  const [settled] = await sql<SettledRow[]>`
    update royalty.gap
    set settled_by = ${by}, settled_reason = ${reason}, settled_at = ${new Date(at)}
    where stream = ${stream} and first_seq = ${firstSeq} and settled_at is null
    returning last_seq`;
  if (settled) {
    return { kind: "settled", gap: { stream, firstSeq, lastSeq: Number(settled.last_seq) } };
  }
  const [before] = await sql<SettledBeforeRow[]>`
    select settled_by, settled_reason from royalty.gap
    where stream = ${stream} and first_seq = ${firstSeq}`;
  return before
    ? { kind: "settled before", by: before.settled_by, reason: before.settled_reason }
    : { kind: "no such gap" };
}
