/**
 * One transaction per batch: what royalty enters in the books.
 *
 * A stream is posted by one session at a time. The session is one connection that holds an advisory
 * lock, so the lock and the transactions share a fate: when the connection goes, both are gone, and
 * another process may lead. The position row, locked and compared in every transaction, makes even
 * two leaders harmless.
 *
 * A batch is planned, its conflicts go to quarantine, and then it is committed. No transaction is
 * open while the quarantine is waited for, so what was read for the plan may change meanwhile. The
 * commit is exact all the same, because a plan is made of three things only:
 *
 * - The claims, which are the caller's.
 * - The oldest open day. The transaction reads it again under a lock that no close gets past; when it
 *   moved, nothing is entered, and the caller plans again.
 * - The keys that were known. A key, once there, says the same until it is forgotten, and then its
 *   event is refused before it becomes a claim (`event_key.ts`): a duplicate stays one, a conflict
 *   too. A key that was not there may have come since, from another stream: then the plain insert
 *   breaks the primary key, the transaction fails as a whole, and the batch comes again.
 *
 * Copies of conflicts whose batch is not committed are found in quarantine when it comes again.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import { withRetryable } from "../../shared/process/postgres/passing.ts";
import { openSession } from "../../shared/process/postgres/pool.ts";
import { type Position, positionOf, type PositionRow } from "../books/accounts.ts";
import { arrayOf, textArrayOf } from "../../shared/process/postgres/array_literal.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import {
  atRisk,
  type Claim,
  type Credit,
  type Refusal,
  settle,
  type Settlement,
} from "./accrue.ts";
import type { Cursor, Gap } from "./continuity.ts";
import { addKeys, knownKeys } from "./key_table.ts";

/** What one transaction enters. */
export interface Posting {
  readonly stream: string;
  /** The position that this continues. */
  readonly after: number;
  readonly through: Pick<Cursor, "lastSeq" | "lastReceivedAt">;
  readonly claims: readonly Claim[];
  /** Deliveries already copied to quarantine. */
  readonly refusals: readonly Refusal[];
  readonly gaps: readonly Gap[];
}

/** The books are elsewhere than the posting says: another session has posted. Nothing is entered. */
export class PositionMoved extends Error {
  override readonly name = "PositionMoved";
}

/** Longest silence of Postgres over a statement of a posting, ms. */
const SILENCE_MS = 8_000;

// A leader that hangs or loses its network is noticed by Postgres, and its lock freed, within these
// bounds, even where something on the way keeps the connection alive. In ms.
const LEADER_SETTINGS = {
  idle_session_timeout: 12_000,
  idle_in_transaction_session_timeout: 12_000,
  // Every statement finds its rows by key; while the tables are young the planner's statistics are
  // too, and one scan of the key table per batch would be the end of it.
  enable_seqscan: "off",
} as const;

interface LeadRow {
  readonly locked: boolean;
}

interface GapRow {
  readonly first_seq: string;
  readonly last_seq: string;
}

interface OpenDayRow {
  /** Null before the first close. */
  readonly oldest_open_day: string | null;
}

interface BooksRow {
  readonly last_seq: string;
  /** Whether the oldest open day is still the one of the plan. */
  readonly is_planned: boolean;
}

/** What a posting comes to, if no day closes before its commit. */
export interface Plan {
  /** `YYYY-MM-DD`; undefined before the first close. */
  readonly oldestOpenDay: string | undefined;
  /** Its conflicts have to be safe in quarantine before the commit. */
  readonly settlement: Settlement;
}

/** What came of a commit. */
export type Outcome =
  | { readonly kind: "committed"; readonly position: Position }
  /** A day closed since the plan: nothing is entered, and the same posting takes another plan. */
  | { readonly kind: "outdated" };

/**
 * The right to post one stream, for as long as its connection lives. Every method rejects with
 * `RetryAfter` for what passes, and once the connection is lost: then take another session.
 */
export class LedgerSession implements AsyncDisposable {
  readonly #sql: Sql;

  /** Connects at the first use. */
  constructor(url: string, readonly stream: string) {
    this.#sql = openSession(url, {
      purpose: "royalty",
      silenceMs: SILENCE_MS,
      settings: LEADER_SETTINGS,
    });
  }

  /** Whether this session leads the stream now; false while another one does. */
  async lead(): Promise<boolean> {
    const rows = await withRetryable(() =>
      this.#sql<LeadRow[]>`
      select pg_try_advisory_lock(hashtext('twofold royalty'), hashtext(${this.stream})) as locked`
    );
    return onlyRow(rows, `the lead of ${this.stream}`).locked;
  }

  /** Where the books are; opens them for a new stream. Also keeps an idle session alive for 12 s. */
  async position(): Promise<Position> {
    const rows = await withRetryable(async () => {
      await this.#sql`
        insert into royalty.stream_position (stream) values (${this.stream}) on conflict do nothing`;
      return await this.#sql<PositionRow[]>`
        select * from royalty.stream_position where stream = ${this.stream}`;
    });
    return positionOf(onlyRow(rows, `the position of ${this.stream}`));
  }

  /** What `posting` comes to. Nothing is held when it resolves. */
  async plan({ claims }: Pick<Posting, "claims">): Promise<Plan> {
    const sql = this.#sql;
    // Sent together, answered together: one round trip.
    const [days, known] = await withRetryable(() =>
      Promise.all([
        sql<OpenDayRow[]>`select oldest_open_day::text from royalty.books`,
        knownKeys(sql, claims),
      ])
    );
    const oldestOpenDay = onlyRow(days, "the books").oldest_open_day ?? undefined;
    return { oldestOpenDay, settlement: settle(claims, known, oldestOpenDay) };
  }

  /**
   * Enters `posting` as `plan` settles it, in one transaction; the header says why that is exact.
   *
   * Rejects with {@link PositionMoved}, or with what Postgres threw; nothing is entered then. When
   * the connection goes during the commit nobody knows: read the position again.
   */
  async commit(posting: Posting, { oldestOpenDay, settlement }: Plan): Promise<Outcome> {
    return await withRetryable(() =>
      this.#sql.begin<Outcome>(async (tx) => {
        if (!(await lockBooks(tx, posting, oldestOpenDay))) return { kind: "outdated" };
        const [row] = await Promise.all([
          advance(tx, posting, settlement),
          addKeys(tx, settlement.counted),
          addCredits(tx, settlement.credits),
          addGaps(tx, posting),
          addQuarantined(tx, posting, settlement),
        ]);
        return { kind: "committed", position: positionOf(row) };
      })
    );
  }

  /** Gaps that nobody was told about yet. */
  async unannouncedGaps(): Promise<Gap[]> {
    const rows = await withRetryable(() =>
      this.#sql<GapRow[]>`
      select first_seq, last_seq from royalty.gap
      where stream = ${this.stream} and alerted_at is null order by first_seq`
    );
    return rows.map((row) => ({ firstSeq: Number(row.first_seq), lastSeq: Number(row.last_seq) }));
  }

  /** Remembers that on-call was told about `gap`. */
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

// Whether the plan still holds. `for share` on the books: a day cannot close between this look and
// the commit.
async function lockBooks(
  tx: TransactionSql,
  posting: Posting,
  oldestOpenDay: string | undefined,
): Promise<boolean> {
  const rows = await tx<BooksRow[]>`
    select p.last_seq,
      b.oldest_open_day is not distinct from ${oldestOpenDay ?? null}::text::date as is_planned
    from royalty.stream_position p, royalty.books b
    where p.stream = ${posting.stream}
    for update of p for share of b`;
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
  { conflicts }: Settlement,
): Promise<void> {
  if (refusals.length + conflicts.length === 0) return;
  const sums = atRisk([...refusals, ...conflicts]);
  await tx`
    insert into royalty.quarantined as q (stream, reason, entries, readable, ms_at_risk)
    select ${stream}, * from unnest(
      ${textArrayOf(sums.map(({ reason }) => reason))}::text::text[],
      ${arrayOf(sums.map(({ entries }) => entries))}::text::bigint[],
      ${arrayOf(sums.map(({ readable }) => readable))}::text::bigint[],
      ${arrayOf(sums.map(({ ms }) => ms))}::text::bigint[])
    on conflict (stream, reason) do update set
      entries = q.entries + excluded.entries,
      readable = q.readable + excluded.readable,
      ms_at_risk = q.ms_at_risk + excluded.ms_at_risk`;
}

async function advance(
  tx: TransactionSql,
  { stream, through, refusals, gaps }: Posting,
  settlement: Settlement,
): Promise<PositionRow> {
  const lost = gaps.reduce((sum, { firstSeq, lastSeq }) => sum + lastSeq - firstSeq + 1, 0);
  const rows = await tx<PositionRow[]>`
    update royalty.stream_position set
      last_seq = ${through.lastSeq},
      last_received_ms = ${through.lastReceivedAt},
      counted = counted + ${settlement.counted.length},
      duplicates = duplicates + ${settlement.duplicates},
      quarantined = quarantined + ${refusals.length + settlement.conflicts.length},
      gaps = gaps + ${lost},
      credited_ms = credited_ms + ${settlement.creditedMs}
    where stream = ${stream} returning *`;
  return onlyRow(rows, `the position of ${stream}`);
}
