/**
 * Acts: what people decided about the books, and what was issued. Postgres stamps who was connected
 * and when, and refuses every change of a row.
 *
 * @module
 */
import type { Queryable } from "../../shared/process/postgres/pool.ts";

/** What was done. `close` and `reissue` issue a statement. */
export type ActKind =
  | "close"
  /** A day was sealed as of an instant that had not come. */
  | "early-close"
  /** A day is closed without a recount. */
  | "waiver"
  | "reissue"
  | "settle-gap"
  | "catalogue"
  /** The first day that gets a statement was decided. */
  | "open";

/** An act to be recorded. */
export interface Act {
  readonly kind: ActKind;
  /** The person, or the service. */
  readonly by: string;
  /** A day, a stream and sequence, or a file. */
  readonly subject: string;
  readonly reason?: string | undefined;
  /** SHA-256 of what was changed, lower-case hex; undefined when there was nothing, or has none. */
  readonly beforeSha256?: string | undefined;
  readonly afterSha256?: string | undefined;
}

/** An act as it was recorded. */
export interface RecordedAct extends Act {
  readonly ordinal: number;
  /** By the clock of Postgres, ISO 8601. */
  readonly at: string;
  /** The role of the session in Postgres. */
  readonly role: string;
}

/** Records `act`, in the transaction of what it is about. Rejects with the error of Postgres. */
export async function recordAct(sql: Queryable, act: Act): Promise<void> {
  const { kind, by, subject, reason, beforeSha256, afterSha256 } = act;
  await sql`
    insert into royalty.act (kind, by, subject, reason, before_sha256, after_sha256)
    values (${kind}, ${by}, ${subject}, ${reason ?? null}, ${beforeSha256 ?? null},
      ${afterSha256 ?? null})`;
}

interface ActRow {
  readonly ordinal: string;
  readonly at: Date;
  readonly role: string;
  readonly kind: ActKind;
  readonly by: string;
  readonly subject: string;
  readonly reason: string | null;
  readonly before_sha256: string | null;
  readonly after_sha256: string | null;
}

/** The newest `limit` acts after the one with the ordinal `after`, in their order. */
export async function readActs(
  sql: Queryable,
  { after = 0, limit }: { readonly after?: number; readonly limit?: number | undefined } = {},
): Promise<RecordedAct[]> {
  const rows = await sql<ActRow[]>`
    select ordinal, at, role, kind, by, subject, reason, before_sha256, after_sha256
    from royalty.act where ordinal > ${after} order by ordinal desc limit ${limit ?? null}`;
  return rows.toReversed().map((row) => ({
    ordinal: Number(row.ordinal),
    at: row.at.toISOString(),
    role: row.role,
    kind: row.kind,
    by: row.by,
    subject: row.subject,
    reason: row.reason ?? undefined,
    beforeSha256: row.before_sha256 ?? undefined,
    afterSha256: row.after_sha256 ?? undefined,
  }));
}
