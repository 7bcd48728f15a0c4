/**
 * Posts batches to the books, one transaction per batch.
 *
 * One session at a time posts a stream. A session is one connection that holds an advisory lock, so
 * the lock and the transactions end together: when the connection is lost, another process may lead.
 * The position row is locked and compared in every transaction, so even two leaders cannot corrupt
 * the books.
 *
 * A batch is planned and then committed. The books may change in between. The commit is exact
 * nevertheless, because a plan depends on four things only:
 *
 * - The claims, which do not change.
 * - The oldest open day. The transaction reads it again under a lock that excludes a close. If it
 *   changed, nothing is entered and the plan is outdated.
 * - The day before which keys are dropped. The transaction reads it again under a lock that excludes
 *   a drop. An id of before is refused, whatever the clocks said.
 * - The known keys. A key does not change until it is dropped, so a duplicate stays a duplicate and a
 *   conflict a conflict. If another stream has entered a key since the plan, the insert violates the primary
 *   key, the transaction fails as a whole, and the plan is outdated.
 *
 * What is refused is entered too, with its reason; `rejects` copies its bytes to quarantine later.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import { openSession } from "../../shared/process/postgres/pool.ts";
import { SessionLock } from "../../shared/process/postgres/session_lock.ts";
import { type Position, positionOf, type PositionRow } from "../books/accounts.ts";
import { arrayOf, textArrayOf } from "../../shared/process/postgres/array_literal.ts";
import { retryable, stateOf, withRetryable } from "../../shared/process/postgres/transient.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import {
  atRisk,
  type Claim,
  type Credit,
  type Refusal,
  type SeenCanary,
  settle,
  type Settlement,
} from "./accrue.ts";
import type { Cursor, Gap } from "./continuity.ts";
import { dateOf, dayNumber, forgottenBefore, type KeptSince } from "./event_key.ts";
import { addKeys, knownKeys } from "./key_table.ts";

/** A batch to be entered in one transaction. */
export interface Posting {
  readonly stream: string;
  /** The last sequence of the position that it continues. */
  readonly after: number;
  /** The new position. */
  readonly through: Pick<Cursor, "lastSeq" | "lastReceivedAtMs">;
  /** Events in its messages: each is a claim, a refusal or a canary. */
  readonly events: number;
  readonly claims: readonly Claim[];
  readonly refusals: readonly Refusal[];
  readonly canaries: readonly SeenCanary[];
  readonly gaps: readonly Gap[];
}

/** The books are not at the position that a posting continues, because another session has posted. */
export class PositionMoved extends Error {
  override readonly name = "PositionMoved";
}

/**
 * Maximum silence of Postgres during a statement of a posting, ms. It answers sooner than that also
 * while the books are locked, so that silence means a dead link.
 */
const SILENCE_MS = 2_000;
const LOCK_WAIT_MS = 1_000;

// Timeouts in ms, after which Postgres ends the session of a leader that hangs or lost its network,
// and releases its lock, even if a proxy keeps the connection open.
const LEADER_SETTINGS = {
  idle_session_timeout: 12_000,
  idle_in_transaction_session_timeout: 12_000,
  lock_timeout: LOCK_WAIT_MS,
  // Every statement finds its rows by key. With few statistics on new tables the planner could choose
  // a sequential scan of the key table for every batch.
  enable_seqscan: "off",
} as const;

/** The lead of `stream`: at most one session has it. */
export function leadOf(stream: string): SessionLock {
  return new SessionLock("twofold royalty", stream);
}

interface GapRow {
  readonly first_seq: string;
  readonly last_seq: string;
}

interface OpenDayRow {
  /** Null before the first close. */
  readonly oldest_open_day: string | null;
  /** Keys from before these days are dropped, `YYYY-MM-DD`. */
  readonly before_day: string;
  readonly other_before_day: string;
}

interface BooksRow {
  readonly last_seq: string;
  /** Whether the oldest open day and the kept keys are still those of the plan. */
  readonly is_planned: boolean;
}

/** The effect of a posting on the books that it was planned for. */
export interface Plan {
  /** `YYYY-MM-DD`; undefined before the first close. */
  readonly oldestOpenDay: string | undefined;
  readonly keptSince: KeptSince;
  readonly settlement: Settlement;
}

/** The result of a commit. */
export type Outcome =
  | { readonly kind: "committed"; readonly position: Position }
  /** The books changed since the plan, or are locked: nothing is entered; make a new plan. */
  | { readonly kind: "outdated" };

/**
 * A session that posts one stream. Every method rejects with `RetryAfter` on a transient error and
 * when the connection was lost; then open another session.
 */
export class LedgerSession implements AsyncDisposable {
  readonly #sql: Sql;

  /**
   * Connects on first use. `url` is the Postgres URL of the books. `lock` is that of earlier sessions
   * of the same holder: the new one ends the last of them, should Postgres not know yet that it is lost.
   */
  constructor(url: string, readonly stream: string, readonly lock: SessionLock = leadOf(stream)) {
    this.#sql = openSession(url, {
      purpose: "royalty",
      silenceMs: SILENCE_MS,
      settings: LEADER_SETTINGS,
    });
  }

  /** Tries to take the lead of the stream; false while another session has it. */
  async lead(): Promise<boolean> {
    return await this.lock.take(this.#sql);
  }

  /** The position of the stream, which is added if it is new. Call it at least every 12 s when idle. */
  async position(): Promise<Position> {
    const rows = await withRetryable(async () => {
      await this.#sql`
        insert into royalty.stream_position (stream) values (${this.stream}) on conflict do nothing`;
      return await this.#sql<PositionRow[]>`
        select * from royalty.stream_position where stream = ${this.stream}`;
    });
    return positionOf(onlyRow(rows, `the position of ${this.stream}`));
  }

  /** Plans a posting. Holds no lock when it resolves. */
  async plan({ claims }: Pick<Posting, "claims">): Promise<Plan> {
    const sql = this.#sql;
    // Pipelined: one round trip.
    const [days, known] = await withRetryable(() =>
      Promise.all([
        sql<OpenDayRow[]>`
          select b.oldest_open_day::text, k.before_day::text, k.other_before_day::text
          from royalty.books b, royalty.keys_forgotten k`,
        knownKeys(sql, claims),
      ])
    );
    const { oldest_open_day, before_day, other_before_day } = onlyRow(days, "the books");
    const oldestOpenDay = oldest_open_day ?? undefined;
    const keptSince = { v7Ms: Date.parse(before_day), otherMs: Date.parse(other_before_day) };
    const settlement = settle(claims, known, oldestOpenDay, forgottenBefore(keptSince));
    return { oldestOpenDay, keptSince, settlement };
  }

  /**
   * Enters `posting` by `plan` in one transaction.
   *
   * "outdated": a day was sealed, keys were dropped, or another stream entered one of the keys, after
   * the plan was made, or somebody has held a lock for {@link LOCK_WAIT_MS}; nothing is entered, and a
   * new plan takes it into account. Rejects with {@link PositionMoved}, or
   * with the error of Postgres; nothing is entered then either. If the connection is lost during the
   * commit, its outcome is unknown: read the position again.
   */
  async commit(posting: Posting, plan: Plan): Promise<Outcome> {
    try {
      return await this.#sql.begin((tx) => enter(tx, posting, plan));
    } catch (error) {
      if (OUTDATED_STATES.includes(stateOf(error) ?? "")) return { kind: "outdated" };
      throw retryable(error);
    }
  }

  /** Gaps of the stream for which no alert was published. */
  async unannouncedGaps(): Promise<Gap[]> {
    const rows = await withRetryable(() =>
      this.#sql<GapRow[]>`
      select first_seq, last_seq from royalty.gap
      where stream = ${this.stream} and alerted_at is null order by first_seq`
    );
    return rows.map((row) => ({ firstSeq: Number(row.first_seq), lastSeq: Number(row.last_seq) }));
  }

  /** Records that an alert for `gap` was published. */
  async announced(gap: Gap): Promise<void> {
    await withRetryable(() =>
      this.#sql`
      update royalty.gap set alerted_at = now()
      where stream = ${this.stream} and first_seq = ${gap.firstSeq}`
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sql.end({ timeout: 2 });
  }
}

/** SQLSTATEs of an insert of a key that exists, and of a lock that was not free in time. */
const OUTDATED_STATES: readonly string[] = ["23505", "55P03"];

async function enter(
  tx: TransactionSql,
  posting: Posting,
  plan: Plan,
): Promise<Outcome> {
  const { settlement } = plan;
  if (!(await lockBooks(tx, posting, plan))) return { kind: "outdated" };
  // Pipelined: one round trip.
  const [row] = await Promise.all([
    advance(tx, posting, settlement),
    addKeys(tx, settlement.counted),
    addCredits(tx, settlement.credits),
    addGaps(tx, posting),
    addQuarantined(tx, posting, settlement),
    addRejects(tx, posting, settlement),
  ]);
  return { kind: "committed", position: positionOf(row) };
}

// Whether the plan is still valid. `for share` prevents a seal and the drop of keys until the commit.
async function lockBooks(
  tx: TransactionSql,
  posting: Posting,
  { oldestOpenDay, keptSince: { v7Ms, otherMs } }: Plan,
): Promise<boolean> {
  const rows = await tx<BooksRow[]>`
    select p.last_seq,
      b.oldest_open_day is not distinct from ${oldestOpenDay ?? null}::text::date
        and k.before_day = ${dateOf(dayNumber(v7Ms))}::text::date
        and k.other_before_day = ${dateOf(dayNumber(otherMs))}::text::date as is_planned
    from royalty.stream_position p, royalty.books b, royalty.keys_forgotten k
    where p.stream = ${posting.stream}
    for update of p for share of b, k`;
  const row = onlyRow(rows, `the position of ${posting.stream}`);
  if (Number(row.last_seq) !== posting.after) {
    throw new PositionMoved(
      `the books of ${posting.stream} are at ${row.last_seq}, not at ${posting.after}`,
    );
  }
  return row.is_planned;
}

async function addCredits(tx: TransactionSql, credits: readonly Credit[]): Promise<void> {
  const column = <K extends keyof Credit>(name: K) => credits.map((credit) => credit[name]);
  await tx`
    insert into royalty.accrual as a
      (recognised_day, event_day, title_id, region, events, ms_watched)
    select * from unnest(
      ${arrayOf(column("recognisedDay"))}::text::date[],
      ${arrayOf(column("eventDay"))}::text::date[],
      ${textArrayOf(column("titleId"))}::text::text[],
      ${textArrayOf(column("region"))}::text::text[],
      ${arrayOf(column("events"))}::text::bigint[],
      ${arrayOf(column("playedMs"))}::text::bigint[])
      as new (recognised_day, event_day, title_id, region, events, ms_watched)
    order by 1, 2, 3, 4
    on conflict (recognised_day, event_day, title_id, region) do update
    set events = a.events + excluded.events, ms_watched = a.ms_watched + excluded.ms_watched`;
}

async function addGaps(tx: TransactionSql, { stream, gaps }: Posting): Promise<void> {
  if (gaps.length === 0) return;
  await tx`
    insert into royalty.gap (stream, first_seq, last_seq)
    select ${stream}, * from unnest(
      ${arrayOf(gaps.map(({ firstSeq }) => firstSeq))}::text::bigint[],
      ${arrayOf(gaps.map(({ lastSeq }) => lastSeq))}::text::bigint[])`;
}

async function addQuarantined(
  tx: TransactionSql,
  { stream, refusals }: Posting,
  { refused }: Settlement,
): Promise<void> {
  if (refusals.length + refused.length === 0) return;
  const sums = atRisk([...refusals, ...refused]);
  await tx`
    insert into royalty.quarantined as q (stream, reason, entries, readable, ms_at_risk, listed)
    select ${stream}, new.*, new.entries from unnest(
      ${textArrayOf(sums.map(({ reason }) => reason))}::text::text[],
      ${arrayOf(sums.map(({ entries }) => entries))}::text::bigint[],
      ${arrayOf(sums.map(({ readable }) => readable))}::text::bigint[],
      ${arrayOf(sums.map(({ ms }) => ms))}::text::bigint[])
      as new (reason, entries, readable, ms_at_risk)
    on conflict (stream, reason) do update set
      entries = q.entries + excluded.entries,
      listed = q.listed + excluded.listed,
      readable = q.readable + excluded.readable,
      ms_at_risk = q.ms_at_risk + excluded.ms_at_risk`;
}

async function addRejects(
  tx: TransactionSql,
  { stream, refusals }: Posting,
  { refused }: Settlement,
): Promise<void> {
  const all = [...refusals, ...refused];
  if (all.length === 0) return;
  const text = (name: "reason" | "path" | "detail" | "build") =>
    textArrayOf(all.map(({ rejection }) => rejection[name]));
  await tx`
    insert into royalty.reject
      (stream, seq, place, received_ms, reason, path, detail, build, ms_at_risk)
    select ${stream}, * from unnest(
      ${arrayOf(all.map(({ delivery }) => delivery.sequence))}::text::bigint[],
      ${arrayOf(all.map(({ delivery }) => delivery.index))}::text::smallint[],
      ${arrayOf(all.map(({ delivery }) => delivery.receivedAtMs))}::text::bigint[],
      ${text("reason")}::text::text[],
      ${text("path")}::text::text[],
      ${text("detail")}::text::text[],
      ${text("build")}::text::text[],
      ${arrayOf(all.map(({ msAtRisk }) => msAtRisk ?? "null"))}::text::bigint[])`;
}

async function advance(
  tx: TransactionSql,
  { stream, through, events, refusals, canaries, gaps }: Posting,
  settlement: Settlement,
): Promise<PositionRow> {
  const lost = gaps.reduce((sum, { firstSeq, lastSeq }) => sum + lastSeq - firstSeq + 1, 0);
  const rows = await tx<PositionRow[]>`
    update royalty.stream_position set
      last_seq = ${through.lastSeq},
      last_received_ms = ${through.lastReceivedAtMs},
      events = events + ${events},
      counted = counted + ${settlement.counted.length},
      duplicates = duplicates + ${settlement.duplicates},
      quarantined = quarantined + ${refusals.length + settlement.refused.length},
      canaries = canaries + ${canaries.length},
      gaps = gaps + ${lost},
      credited_ms = credited_ms + ${settlement.creditedMs}
    where stream = ${stream} returning *`;
  return onlyRow(rows, `the position of ${stream}`);
}
