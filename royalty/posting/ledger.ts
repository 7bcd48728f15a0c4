/**
 * One transaction per batch: what royalty enters in the books.
 *
 * A stream is posted by one session at a time. The session is one connection that holds an advisory
 * lock, so the lock and the transactions share a fate: when the connection goes, both are gone, and
 * another process may lead. The position row, locked and compared in every transaction, makes even
 * two leaders harmless.
 *
 * @module
 */
import postgres, { type Sql, type TransactionSql } from "postgres";
import { RetryAfter } from "../../shared/process/errors.ts";
import { type Position, positionOf, type PositionRow } from "../books/accounts.ts";
import { CLIENT_GONE, CONNECTION } from "../books/connection.ts";
import { arrayOf, quoted } from "../books/array_literal.ts";
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

// A leader that hangs or loses its network is noticed, and its lock freed, within these bounds.
const LEADER_LIMITS = {
  ...CLIENT_GONE,
  application_name: "twofold-royalty",
  idle_session_timeout: 30_000,
  idle_in_transaction_session_timeout: 60_000,
  tcp_keepalives_idle: 5,
  tcp_keepalives_interval: 2,
  tcp_keepalives_count: 3,
  // Every statement finds its rows by key; while the tables are young the planner's statistics are
  // too, and one scan of the key table per batch would be the end of it.
  enable_seqscan: "off",
} as const;

/** The right to post one stream, for as long as its connection lives. */
export class LedgerSession implements AsyncDisposable {
  readonly #sql: Sql;
  #closed = false;

  /** Connects at the first use. */
  constructor(url: string, readonly stream: string) {
    this.#sql = postgres(url, {
      ...CONNECTION,
      max: 1,
      connection: LEADER_LIMITS,
      onclose: () => void (this.#closed = true),
    });
  }

  /** Whether this session leads the stream now; false while another one does. */
  async lead(): Promise<boolean> {
    this.#checkOpen();
    const [{ locked }] = await this.#sql<{ locked: boolean }[]>`
      select pg_try_advisory_lock(hashtext('twofold royalty'), hashtext(${this.stream})) as locked`;
    return locked;
  }

  /** Where the books are; opens them for a new stream. Also keeps an idle session alive. */
  async position(): Promise<Position> {
    this.#checkOpen();
    await this.#sql`
      insert into royalty.stream_position (stream) values (${this.stream}) on conflict do nothing`;
    const [row] = await this.#sql<PositionRow[]>`
      select * from royalty.stream_position where stream = ${this.stream}`;
    return positionOf(row);
  }

  /**
   * Enters `posting` in one transaction. Claims that turn out to be conflicts are handed to
   * `setAside`, which resolves once they are safe in quarantine; the commit comes after.
   *
   * Rejects with {@link PositionMoved}, or with what Postgres or `setAside` threw; nothing is
   * entered then. When the connection goes during the commit nobody knows: read the position again.
   */
  async post(
    posting: Posting,
    setAside: (conflicts: Settlement["conflicts"]) => Promise<void>,
  ): Promise<{ readonly position: Position; readonly settlement: Settlement }> {
    this.#checkOpen();
    return await this.#sql.begin(async (tx) => {
      const oldestOpenDay = await lockBooks(tx, posting);
      const known = await knownKeys(tx, posting.claims);
      const settlement = settle(posting.claims, known, oldestOpenDay);
      await setAside(settlement.conflicts);
      // Sent together, answered together: one round trip.
      const [row] = await Promise.all([
        advance(tx, posting, settlement),
        addKeys(tx, settlement.counted),
        addCredits(tx, settlement.credits),
        addGaps(tx, posting),
        addQuarantined(tx, posting, settlement),
      ]);
      return { position: positionOf(row), settlement };
    });
  }

  /** Gaps that nobody was told about yet. */
  async unannouncedGaps(): Promise<Gap[]> {
    const rows = await this.#sql<{ first_seq: string; last_seq: string }[]>`
      select first_seq, last_seq from royalty.gap
      where stream = ${this.stream} and alerted_at is null order by first_seq`;
    return rows.map((row) => ({ firstSeq: Number(row.first_seq), lastSeq: Number(row.last_seq) }));
  }

  /** Remembers that on-call was told about `gap`. */
  async announced(gap: Gap): Promise<void> {
    await this.#sql`
      update royalty.gap set alerted_at = now()
      where stream = ${this.stream} and first_seq = ${gap.firstSeq}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sql.end({ timeout: 2 });
  }

  // The driver reconnects by itself, and the new connection would not hold the lock.
  #checkOpen(): void {
    if (this.#closed) throw new RetryAfter("the connection to Postgres was lost", 500);
  }
}

// `for share` on the books: a day cannot close between this look and the commit.
async function lockBooks(tx: TransactionSql, posting: Posting): Promise<string | undefined> {
  const [row] = await tx<{ last_seq: string; oldest_open_day: string | null }[]>`
    select p.last_seq, b.oldest_open_day::text
    from royalty.stream_position p, royalty.books b
    where p.stream = ${posting.stream}
    for update of p for share of b`;
  if (Number(row.last_seq) !== posting.after) {
    throw new PositionMoved(
      `the books of ${posting.stream} are at ${row.last_seq}, not at ${posting.after}`,
    );
  }
  return row.oldest_open_day ?? undefined;
}

async function addCredits(tx: TransactionSql, credits: readonly Credit[]): Promise<void> {
  const column = <K extends keyof Credit>(name: K) => credits.map((credit) => credit[name]);
  await tx`
    insert into royalty.accrual as a
      (recognised_day, event_day, title_id, region, events, ms_watched)
    select * from unnest(
      ${arrayOf(column("recognisedDay"))}::text::date[],
      ${arrayOf(column("eventDay"))}::text::date[],
      ${arrayOf(column("titleId").map(quoted))}::text::text[],
      ${arrayOf(column("region").map(quoted))}::text::text[],
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
      ${arrayOf(sums.map(({ reason }) => reason))}::text::text[],
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
  const [row] = await tx<PositionRow[]>`
    update royalty.stream_position set
      last_seq = ${through.lastSeq},
      last_received_ms = ${through.lastReceivedAt},
      counted = counted + ${settlement.counted.length},
      duplicates = duplicates + ${settlement.duplicates},
      quarantined = quarantined + ${refusals.length + settlement.conflicts.length},
      gaps = gaps + ${lost},
      credited_ms = credited_ms + ${settlement.creditedMs}
    where stream = ${stream} returning *`;
  return row;
}
