/**
 * The books in Postgres: everything royalty says in SQL.
 *
 * A stream is posted by one session at a time. The session is one connection that holds an advisory
 * lock, so the lock and the transactions share a fate: when the connection goes, both are gone, and
 * another process may lead. The position row, locked and compared in every transaction, makes even
 * two leaders harmless.
 *
 * `bigint` arrives as text. Counts and sequences become numbers; sums of ms become BigInt, because a
 * year and a half of two billion events a day leaves the safe integers behind.
 *
 * @module
 */
import postgres, { type Sql, type TransactionSql } from "postgres";
import { messageOf, RetryAfter, Stop } from "../../shared/process/errors.ts";
import { migrate, type Migration } from "../../shared/process/migrate.ts";
import {
  atRisk,
  type Claim,
  type Credit,
  type Refusal,
  settle,
  type Settlement,
} from "./accrue.ts";
import { arrayOf, quoted } from "../books/array_literal.ts";
import type { CatalogueEntry } from "../statement/catalogue.ts";
import type { Cursor, Gap } from "./continuity.ts";
import { addKeys, knownKeys } from "./key_table.ts";
import type { StatementLine } from "../statement/csv.ts";

/** How far a stream is accounted for; `lastSeq = counted + duplicates + quarantined + gaps`. */
export interface Position {
  readonly stream: string;
  readonly lastSeq: number;
  /** Receipt time of the message `lastSeq`, ms since the epoch. */
  readonly lastReceivedAt: number;
  readonly counted: number;
  readonly duplicates: number;
  readonly quarantined: number;
  readonly gaps: number;
  readonly creditedMs: bigint;
}

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

/** A pool of connections for short reads and the catalogue. */
export function connectBooks(url: string): Sql {
  return postgres(url, { ...CONNECTION, max: 2, connection: CLIENT_GONE });
}

const CONNECTION = {
  onnotice: () => {},
  connect_timeout: 5,
  // The driver would close the connection after 45 minutes, and the lock with it.
  max_lifetime: null,
  fetch_types: false,
} as const;

// A server that works or waits for a client that was killed would hold its locks until it is done.
const CLIENT_GONE = { client_connection_check_interval: 1_000 } as const;

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

/**
 * Brings the schema up to date and opens the books in `zone`, or checks that they are kept in it.
 * Rejects with {@link Stop} if they are not, with {@link RetryAfter} while Postgres cannot be used.
 */
export async function openBooks(
  url: string,
  zone: string,
  migrations: readonly Migration[],
): Promise<void> {
  const sql = connectBooks(url);
  try {
    await migrate(sql, "royalty", migrations);
    await sql`insert into royalty.books (zone) values (${zone}) on conflict do nothing`;
    const [books] = await sql<{ zone: string }[]>`select zone from royalty.books`;
    if (books.zone !== zone) {
      throw new Stop(
        `the books are kept in the zone ${books.zone}, but TWOFOLD_BUSINESS_ZONE is ${zone}; ` +
          "days already booked cannot be moved, so set it back",
      );
    }
  } catch (error) {
    if (!isPassing(error)) throw error;
    throw new RetryAfter(`Postgres: ${messageOf(error)}`, 1_000, { cause: error });
  } finally {
    await sql.end({ timeout: 2 });
  }
}

// Connection and authorisation problems and shutdowns pass; a wrong statement does not.
function isPassing(error: unknown): boolean {
  if (error instanceof Stop) return false;
  const { name, code } = error as { readonly name?: string; readonly code?: unknown };
  return name !== "PostgresError" || /^(08|28|3D|40|53|57)/.test(String(code));
}

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

interface PositionRow {
  stream: string;
  last_seq: string;
  last_received_ms: string;
  counted: string;
  duplicates: string;
  quarantined: string;
  gaps: string;
  credited_ms: string;
}

function positionOf(row: PositionRow): Position {
  return {
    stream: row.stream,
    lastSeq: Number(row.last_seq),
    lastReceivedAt: Number(row.last_received_ms),
    counted: Number(row.counted),
    duplicates: Number(row.duplicates),
    quarantined: Number(row.quarantined),
    gaps: Number(row.gaps),
    creditedMs: BigInt(row.credited_ms),
  };
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

/** A stream's account, and whether it adds up. */
export interface Account extends Position {
  readonly identityHolds: boolean;
}

/** The accounts of all streams and whether credits and gaps agree with them. */
export interface Accounts {
  readonly streams: readonly Account[];
  /** What does not agree, one line each; empty when the books balance. */
  readonly disagreements: readonly string[];
}

/** Reads the accounts in one snapshot and checks them against credits and gaps. */
export async function readAccounts(sql: Sql): Promise<Accounts> {
  const [rows, [sums], gapRows, riskRows] = await sql.begin(
    "isolation level repeatable read",
    async (tx) =>
      [
        await tx<PositionRow[]>`select * from royalty.stream_position order by stream`,
        await tx<{ events: string; ms: string }[]>`
      select coalesce(sum(events), 0)::text as events, coalesce(sum(ms_watched), 0)::text as ms
      from royalty.accrual`,
        await tx<{ stream: string; missing: string }[]>`
      select stream, sum(last_seq - first_seq + 1)::text as missing
      from royalty.gap group by stream`,
        await tx<{ stream: string; entries: string }[]>`
      select stream, sum(entries)::text as entries from royalty.quarantined group by stream`,
      ] as const,
  );
  const streams = rows.map(positionOf).map((position) => ({
    ...position,
    identityHolds: position.lastSeq ===
      position.counted + position.duplicates + position.quarantined + position.gaps,
  }));
  const missing = new Map(gapRows.map((row) => [row.stream, Number(row.missing)]));
  const entries = new Map(riskRows.map((row) => [row.stream, Number(row.entries)]));
  return { streams, disagreements: disagreements(streams, sums, missing, entries) };
}

function disagreements(
  streams: readonly Position[],
  sums: { readonly events: string; readonly ms: string },
  missing: ReadonlyMap<string, number>,
  entries: ReadonlyMap<string, number>,
): string[] {
  const counted = streams.reduce((sum, each) => sum + BigInt(each.counted), 0n);
  const creditedMs = streams.reduce((sum, each) => sum + each.creditedMs, 0n);
  const pairs: [string, bigint, bigint][] = [
    ...streams.map(({ stream, lastSeq, ...account }): [string, bigint, bigint] => [
      `last_seq of ${stream} and the sum of its outcomes`,
      BigInt(lastSeq),
      BigInt(account.counted + account.duplicates + account.quarantined + account.gaps),
    ]),
    ["events credited and events counted", BigInt(sums.events), counted],
    ["ms credited and ms counted", BigInt(sums.ms), creditedMs],
    ...streams.map(({ stream, gaps }): [string, bigint, bigint] => [
      `sequences in the gaps of ${stream} and its account`,
      BigInt(missing.get(stream) ?? 0),
      BigInt(gaps),
    ]),
    ...streams.map(({ stream, quarantined }): [string, bigint, bigint] => [
      `quarantined events of ${stream} by reason and its account`,
      BigInt(entries.get(stream) ?? 0),
      BigInt(quarantined),
    ]),
  ];
  return pairs.filter(([, a, b]) => a !== b).map(([what, a, b]) => `${what} differ: ${a} and ${b}`);
}

/** The lines recognised on `day` (`YYYY-MM-DD`), in the order of a statement. */
export async function readStatement(
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

/** Puts `entries` into the catalogue, all or none; titles it does not name stay as they are. */
export async function putCatalogue(
  sql: Sql,
  entries: readonly CatalogueEntry[],
): Promise<{ readonly added: number; readonly changed: number; readonly unchanged: number }> {
  const text = (items: readonly (string | undefined)[]) =>
    arrayOf(items.map((item) => item === undefined ? "null" : quoted(item)));
  const rows = await sql<{ inserted: boolean }[]>`
    insert into royalty.title as t (title_id, studio, title_name)
    select * from unnest(
      ${text(entries.map(({ titleId }) => titleId))}::text::text[],
      ${text(entries.map(({ studio }) => studio))}::text::text[],
      ${text(entries.map(({ titleName }) => titleName))}::text::text[])
    on conflict (title_id) do update
    set studio = excluded.studio, title_name = excluded.title_name
    where (t.studio, t.title_name) is distinct from (excluded.studio, excluded.title_name)
    returning xmax = 0 as inserted`;
  const added = rows.filter(({ inserted }) => inserted).length;
  const changed = rows.length - added;
  return { added, changed, unchanged: entries.length - rows.length };
}
