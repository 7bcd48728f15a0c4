/**
 * The rejects in the books, and how far their copies to QUARANTINE are.
 *
 * One session at a time copies: it holds an advisory lock for as long as its connection lives. Two
 * that copy would do no harm, because QUARANTINE knows a copy by its message id.
 *
 * @module
 */
import type { Sql } from "postgres";
import type { Delivery } from "../../shared/contract/delivery/delivery.ts";
import type { Rejection, RejectionReason } from "../../shared/contract/event.ts";
import { arrayOf, textArrayOf } from "../../shared/process/postgres/array_literal.ts";
import { allowSilence, openSession } from "../../shared/process/postgres/pool.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import { SessionLock } from "../../shared/process/postgres/session_lock.ts";
import { withRetryable } from "../../shared/process/postgres/transient.ts";

/** Maximum silence of Postgres during one statement, ms; longer while millions are counted again. */
const SILENCE_MS = 8_000;
const RECOUNT_MS = 120_000;
/** A place beyond every one in a message. */
export const LAST_PLACE = 32_767;
/** Rejects that one call of {@link CopyStore.forget} deletes at most. */
export const MAX_FORGOTTEN = 10_000;

// Ends the session of a process that hangs, and with it its lock, as in `posting/ledger.ts`.
const SESSION_SETTINGS = {
  idle_session_timeout: 12_000,
  idle_in_transaction_session_timeout: 12_000,
} as const;

/** The lock of the one that copies. */
export function copyLock(): SessionLock {
  return new SessionLock("twofold royalty", "rejects");
}

/** Where a reject is in its stream: the message, and the place in it, from 0. */
export type RejectAddress = Pick<Delivery, "sequence" | "index">;

/** A reject in the books that has to be copied. */
export interface UncopiedReject extends RejectAddress {
  /** Receipt of the heartbeat, ms since the epoch. */
  readonly receivedAtMs: number;
  readonly rejection: Rejection;
}

/** How far the rejects of a stream are copied. */
export interface CopyPosition {
  /** Every reject up to this one is copied. */
  readonly through: RejectAddress;
  /** Number of rejects in the books that are not copied. */
  readonly uncopied: number;
  /** When the QUARANTINE that has the copies was made, as NATS says it; undefined before the first. */
  readonly intoMade: string | undefined;
}

interface StreamRow {
  readonly stream: string;
}

interface CopyRow {
  readonly through_seq: string;
  readonly through_place: number;
  readonly uncopied: string;
  readonly into_made: string | null;
}

interface RejectRow {
  readonly seq: string;
  readonly place: number;
  readonly received_ms: string;
  readonly reason: RejectionReason;
  readonly path: string;
  readonly detail: string;
  readonly build: string | null;
}

interface ForgottenRow {
  readonly forgotten: number;
}

/**
 * See the module. Every method rejects with `RetryAfter` on a transient error; then open another. Call
 * one at least every 12 s.
 */
export class CopyStore implements AsyncDisposable {
  readonly #sql: Sql;

  /** Connects on first use. `url` is the Postgres URL of the books; `lock` as in `posting/ledger.ts`. */
  constructor(url: string, readonly lock: SessionLock = copyLock()) {
    this.#sql = openSession(url, {
      purpose: "royalty-rejects",
      silenceMs: SILENCE_MS,
      settings: SESSION_SETTINGS,
    });
  }

  /** Tries to become the one that copies; false while another session is. */
  async lead(): Promise<boolean> {
    return await this.lock.take(this.#sql);
  }

  /** How far the rejects of `stream` are copied; undefined before the stream was counted. */
  async position(stream: string): Promise<CopyPosition | undefined> {
    const [row] = await withRetryable(() =>
      this.#sql<CopyRow[]>`
      select coalesce(c.through_seq, 0)::text as through_seq,
        coalesce(c.through_place, 0) as through_place,
        (coalesce((select sum(listed) from royalty.quarantined q where q.stream = p.stream), 0)
          - coalesce(c.copied, 0))::text as uncopied, c.into_made
      from royalty.stream_position p left join royalty.reject_copy c using (stream)
      where p.stream = ${stream}`
    );
    return row && {
      through: { sequence: Number(row.through_seq), index: row.through_place },
      uncopied: Number(row.uncopied),
      intoMade: row.into_made ?? undefined,
    };
  }

  /** The first rejects of `stream` after `after`, at most `limit`, in their order. */
  async rejects(stream: string, after: RejectAddress, limit: number): Promise<UncopiedReject[]> {
    const { sequence, index } = after;
    const rows = await withRetryable(() =>
      this.#sql<RejectRow[]>`
      select seq, place, received_ms, reason, path, detail, build from royalty.reject
      where stream = ${stream} and (seq, place) > (${sequence}, ${index})
      order by seq, place limit ${limit}`
    );
    return rows.map(({ seq, place, received_ms, reason, path, detail, build }) => ({
      sequence: Number(seq),
      index: place,
      receivedAtMs: Number(received_ms),
      rejection: { reason, path, detail, build: build ?? undefined },
    }));
  }

  /**
   * Records that `count` more rejects of `stream`, up to `through`, are in QUARANTINE, but for those in
   * `lost`, which have the reason there.
   */
  async advance(
    stream: string,
    through: RejectAddress,
    count: number,
    lost: ReadonlyMap<RejectAddress, string>,
  ): Promise<void> {
    const addresses = [...lost.keys()];
    await withRetryable(async () => {
      if (lost.size > 0) {
        await this.#sql`
          update royalty.reject r set not_copied = new.why from unnest(
            ${arrayOf(addresses.map(({ sequence }) => sequence))}::text::bigint[],
            ${arrayOf(addresses.map(({ index }) => index))}::text::smallint[],
            ${textArrayOf([...lost.values()])}::text::text[]) as new (seq, place, why)
          where r.stream = ${stream} and r.seq = new.seq and r.place = new.place`;
      }
      await this.#sql`
        update royalty.reject_copy set through_seq = ${through.sequence},
          through_place = ${through.index}, copied = copied + ${count}
        where stream = ${stream}`;
    });
  }

  /**
   * Records which QUARANTINE has the copies: the one made at `intoMade`. The rejects of `stream` from
   * sequence `fromSeq` on count as not copied.
   */
  async copyInto(stream: string, intoMade: string, fromSeq: number): Promise<void> {
    await withRetryable(() =>
      allowSilence(this.#sql, RECOUNT_MS, async () => {
        await this.#sql`
          update royalty.reject set not_copied = null
          where stream = ${stream} and seq >= ${fromSeq} and not_copied is not null`;
        await this.#sql`
          insert into royalty.reject_copy as c (stream, into_made) values (${stream}, ${intoMade})
          on conflict (stream) do update set
            into_made = excluded.into_made,
            through_seq = least(c.through_seq, ${fromSeq - 1}::bigint),
            through_place = case when c.through_seq < ${fromSeq} then c.through_place
              else ${LAST_PLACE} end,
            copied = c.copied - (select count(*) from royalty.reject r
              where r.stream = c.stream and r.seq >= ${fromSeq}
                and (r.seq, r.place) <= (c.through_seq, c.through_place))`;
      })
    );
  }

  /**
   * Deletes copied rejects of `stream` that were entered more than `ageMs` ago, at most
   * {@link MAX_FORGOTTEN}; their counts stay. Returns their number. An age is that at the receipt of
   * the newest reject, if this is less: one clock that is ahead deletes nothing.
   */
  async forget(stream: string, ageMs: number): Promise<number> {
    const rows = await withRetryable(() =>
      this.#sql.begin(async (tx) => {
        // A posting locks this row first too: two never wait for each other.
        await tx<StreamRow[]>`
          select stream from royalty.stream_position where stream = ${stream} for update`;
        return await tx<ForgottenRow[]>`
          with forgotten as (
            delete from royalty.reject where stream = ${stream}
              and rejected_at + ${ageMs} * interval '1 ms' < least(now(), (
                select to_timestamp(received_ms / 1000.0) from royalty.reject
                where stream = ${stream} order by seq desc, place desc limit 1))
              and (seq, place) in (
                select seq, place from royalty.reject where stream = ${stream}
                  and (seq, place) <= (select through_seq, through_place
                    from royalty.reject_copy where stream = ${stream})
                order by seq, place limit ${MAX_FORGOTTEN})
            returning reason
          ), sums as (
            select reason, count(*) as entries from forgotten group by reason
          ), counted as (
            update royalty.quarantined q set listed = q.listed - sums.entries
            from sums where q.stream = ${stream} and q.reason = sums.reason
          ), copied as (
            update royalty.reject_copy set copied = copied - (select count(*) from forgotten)
            where stream = ${stream}
          )
          select coalesce(sum(entries), 0)::int as forgotten from sums`;
      })
    );
    return onlyRow(rows, "the rejects that were deleted").forgotten;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sql.end({ timeout: 2 });
  }
}
