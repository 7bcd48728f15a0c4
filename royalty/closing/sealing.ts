/**
 * Seals days and stores statements in Postgres.
 *
 * A close is two transactions with the recount between them. The first seals the day: it locks the
 * books against postings for a moment, records the position of every stream, and makes the next day
 * the oldest open one. From then on the day's credits cannot change. The second issues the statement;
 * postings continue meanwhile, because none of them credits a sealed day. A process killed between
 * the two leaves a sealed day, which the next close continues.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import { allowSilence, type Queryable } from "../../shared/process/postgres/pool.ts";
import { readPositions } from "../books/accounts.ts";
import { readZone, WHOLE_DAY_MS } from "../books/connection.ts";
import { readOpenGaps } from "../books/gaps.ts";
import { readRecognisedLines } from "../books/lines.ts";
import { readRanges, readSeal } from "../books/seals.ts";
import { databaseTimeMs } from "../../shared/process/postgres/database_time.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import { type Act, readActs, recordAct, type RecordedAct } from "../books/acts.ts";
import { readEntries, type StatementEntry } from "../books/statements.ts";
import type { StoredStatement } from "../statement/chain.ts";
import { type StatementLine, UNMAPPED } from "../statement/statement_csv.ts";
import type { QuarantinedSum, SettledGap, StreamRange } from "../statement/manifest.ts";
import type { BooksState, StreamState } from "./conditions.ts";

/** The state of closing. Days are `YYYY-MM-DD`. */
export interface ClosingState {
  readonly zone: string;
  /** Undefined before the first close. */
  readonly oldestOpenDay: string | undefined;
  /** The earliest day with credits; only read before the first close. */
  readonly firstCreditedDay: string | undefined;
  /** The day that is sealed and has no statement; it has to be closed next. */
  readonly sealedDay: string | undefined;
}

/** The input of a statement of a sealed day. */
export interface IssueBasis {
  readonly zone: string;
  /** Effective close time of the day, ms since the epoch. */
  readonly sealedAsOfMs: number;
  readonly lines: readonly StatementLine[];
  readonly streams: readonly StreamRange[];
  readonly quarantined: readonly QuarantinedSum[];
  readonly settledGaps: readonly SettledGap[];
  /** The last statement of the chain. */
  readonly previous: StatementEntry | undefined;
  /** The newest version of this day's statement. */
  readonly newest: StatementEntry | undefined;
  /** When it was sealed and when it is issued, by the clock of Postgres, ms since the epoch. */
  readonly sealedAtMs: number;
  readonly issuedAtMs: number;
  /** The acts since the last statement of the chain. */
  readonly acts: readonly RecordedAct[];
}

/**
 * An act of who issues a statement. Without a subject it is about the statement, and gets its hashes.
 */
export type Issuing = Pick<Act, "kind" | "by" | "reason"> & Partial<Pick<Act, "subject">>;

/** A statement to be stored. */
export interface NewStatement extends Omit<StoredStatement, "previousSha256"> {
  readonly previousSha256: string | null;
  /** Ms since the epoch. */
  readonly closedAtMs: number;
  readonly reason: string | null;
}

/** An exclusive lock on tables. */
interface TableLock {
  readonly tables: readonly string[];
  /** Whether it may be held for minutes without a statement of SQL. */
  readonly isLong: boolean;
  /** Maximum silence of Postgres, more than the 60 s of the lock timeout. */
  readonly silenceMs: number;
}

/** Excludes postings and other seals. */
const BOOKS_LOCK: TableLock = {
  tables: ["royalty.books"],
  // A closer that lost its network must not block postings for long.
  isLong: false,
  silenceMs: 90_000,
};
/**
 * Excludes the issue of other statements, and acts: one whose ordinal is smaller than one in a
 * manifest must not appear after it.
 */
const STATEMENTS_LOCK: TableLock = {
  tables: ["royalty.statement", "royalty.act"],
  // Composing a statement may take minutes.
  isLong: true,
  silenceMs: WHOLE_DAY_MS,
};

/** Runs `work` in one snapshot with an exclusive lock on tables. */
async function withTableLock<T>(
  sql: Sql,
  { tables, isLong, silenceMs }: TableLock,
  work: (tx: TransactionSql) => Promise<T>,
): Promise<T> {
  const { result } = await allowSilence(
    sql,
    silenceMs,
    () =>
      sql.begin("isolation level repeatable read", async (tx) => {
        await tx`set local lock_timeout = '60s'`;
        await (isLong
          ? tx`set local idle_in_transaction_session_timeout = '10min'`
          : tx`set local idle_in_transaction_session_timeout = '12s'`);
        // Postings lock the row of the books `for share`, and overlapping ones could delay a row lock
        // forever, whereas table locks are queued. Taken before the first snapshot, so that the
        // snapshot is not older than the lock.
        await tx`lock table ${tx(tables)} in exclusive mode`;
        return { result: await work(tx) };
      }),
  );
  return result;
}

interface ClosingRow {
  readonly zone: string;
  readonly oldest_open_day: string | null;
  readonly first_credited_day: string | null;
  readonly sealed_day: string | null;
}

/** Reads the state of closing. */
export async function readClosingState(sql: Queryable): Promise<ClosingState> {
  const rows = await sql<ClosingRow[]>`
    select zone, oldest_open_day::text as oldest_open_day,
      (select min(recognised_day)::text from royalty.accrual
        where b.oldest_open_day is null) as first_credited_day,
      (select s.recognised_day::text from royalty.seal s
        where not exists (select from royalty.statement t
          where t.recognised_day = s.recognised_day)) as sealed_day
    from royalty.books b`;
  const row = onlyRow(rows, "the books");
  return {
    zone: row.zone,
    oldestOpenDay: row.oldest_open_day ?? undefined,
    firstCreditedDay: row.first_credited_day ?? undefined,
    sealedDay: row.sealed_day ?? undefined,
  };
}

/**
 * Seals `day` as of `asOfMs` (ms since the epoch), unless it is sealed already. `check` receives the
 * state of the books and throws when the day may not close; nothing is changed then. It returns the
 * act of whoever seals it early. `ends` are the last sequences by stream.
 */
export async function sealDay(
  sql: Sql,
  day: string,
  nextDay: string,
  asOfMs: number,
  ends: ReadonlyMap<string, number>,
  check: (books: BooksState) => Act | undefined,
): Promise<void> {
  await withTableLock(sql, BOOKS_LOCK, async (tx) => {
    const state = await readClosingState(tx);
    if (state.sealedDay === day) return;
    const act = check({
      oldestOpenDay: state.sealedDay ?? state.oldestOpenDay,
      firstCreditedDay: state.firstCreditedDay,
      streams: await readStreams(tx, ends),
      openGaps: await readOpenGaps(tx),
    });
    await tx`insert into royalty.seal (recognised_day, as_of)
      values (${day}::text::date, ${new Date(asOfMs)})`;
    await tx`
      insert into royalty.seal_position
        (recognised_day, stream, last_seq, events, counted, duplicates, quarantined, canaries, gaps)
      select ${day}::text::date, stream, last_seq, events, counted, duplicates, quarantined,
        canaries, gaps
      from royalty.stream_position`;
    await tx`
      insert into royalty.seal_quarantined
        (recognised_day, stream, reason, entries, readable, ms_at_risk)
      select ${day}::text::date, stream, reason, entries, readable, ms_at_risk
      from royalty.quarantined`;
    await tx`update royalty.books set oldest_open_day = ${nextDay}::text::date`;
    if (act !== undefined) await recordAct(tx, act);
  });
}

async function readStreams(
  tx: TransactionSql,
  ends: ReadonlyMap<string, number>,
): Promise<StreamState[]> {
  const read = new Map((await readPositions(tx)).map((position) => [position.stream, position]));
  return [...new Set([...read.keys(), ...ends.keys()])].map((stream) => ({
    stream,
    lastSeq: read.get(stream)?.lastSeq ?? 0,
    lastReceivedAtMs: read.get(stream)?.lastReceivedAtMs ?? 0,
    endSeq: ends.get(stream),
  }));
}

/**
 * Stores the statement that `compose` returns, or none when it returns undefined; returns the same.
 * Runs in one snapshot, and no other statement is issued meanwhile. Postgres refuses a statement that
 * differs from the credits of its day, or from its first version in anything but studios.
 */
export async function issue(
  sql: Sql,
  day: string,
  acts: readonly Issuing[],
  compose: (basis: IssueBasis) => NewStatement | undefined,
): Promise<NewStatement | undefined> {
  return await withTableLock(sql, STATEMENTS_LOCK, async (tx) => {
    const basis = await readBasis(tx, day);
    const statement = compose(basis);
    if (!statement) return undefined;
    const { version, csv, manifest, rows, events, ms, reason, closedAtMs } = statement;
    await tx`
      insert into royalty.statement (recognised_day, version, csv, manifest, sha256,
        manifest_sha256, previous_sha256, rows, events, ms_watched, closed_at, reason, last_act)
      values (${day}::text::date, ${version}, ${csv}, ${manifest}, ${statement.sha256},
        ${statement.manifestSha256}, ${statement.previousSha256}, ${rows}, ${String(events)},
        ${String(ms)}, ${new Date(closedAtMs)}, ${reason}, ${lastActOf(basis)})`;
    // From the same snapshot as the bytes.
    await tx`
      insert into royalty.statement_line (recognised_day, version, line_type, event_day, studio,
        title_id, territory, events, ms_watched)
      select recognised_day, ${version}::int,
        case when recognised_day = event_day then 'USAGE' else 'ADJUSTMENT' end,
        event_day, coalesce(studio, ${UNMAPPED}), title_id, region, events, ms_watched
      from royalty.day_line
      where recognised_day = ${day}::text::date`;
    for (const act of acts) await recordAct(tx, actOf(act, statement));
    return statement;
  });
}

function actOf({ subject, ...issuing }: Issuing, statement: NewStatement): Act {
  if (subject !== undefined) return { ...issuing, subject };
  const { day, version, previousSha256, manifestSha256 } = statement;
  return {
    ...issuing,
    subject: `${day} version ${version}`,
    beforeSha256: previousSha256 ?? undefined,
    afterSha256: manifestSha256,
  };
}

function lastActOf({ acts, previous }: Pick<IssueBasis, "acts" | "previous">): number {
  return acts.at(-1)?.ordinal ?? previous?.lastAct ?? 0;
}

async function readBasis(tx: TransactionSql, day: string): Promise<IssueBasis> {
  const seal = await readSeal(tx, day);
  if (seal === undefined) throw new Error(`${day} is not sealed`);
  const before = await readSealedBefore(tx, day);
  const [previous] = await readEntries(tx, undefined, 1);
  const [newest] = await readEntries(tx, day, 1);
  return {
    zone: await readZone(tx),
    sealedAsOfMs: seal.asOfMs,
    sealedAtMs: seal.sealedAtMs,
    issuedAtMs: await databaseTimeMs(tx),
    acts: await readActs(tx, { after: previous?.lastAct ?? 0 }),
    lines: await readRecognisedLines(tx, day),
    streams: await readRanges(tx, day),
    quarantined: await readQuarantined(tx, day, before),
    settledGaps: await readSettledGaps(tx, day, before),
    previous,
    newest,
  };
}

interface SealedBeforeRow {
  readonly day: string | null;
}

/** The day sealed before `day`; null for the first. */
async function readSealedBefore(tx: TransactionSql, day: string): Promise<string | null> {
  const rows = await tx<SealedBeforeRow[]>`
    select max(recognised_day)::text as day from royalty.seal
    where recognised_day < ${day}::text::date`;
  return onlyRow(rows, `the seal before ${day}`).day;
}

interface QuarantinedRow {
  readonly reason: string;
  readonly entries: string;
  readonly readable: string;
  readonly ms_at_risk: string;
}

async function readQuarantined(
  tx: TransactionSql,
  day: string,
  before: string | null,
): Promise<QuarantinedSum[]> {
  const rows = await tx<QuarantinedRow[]>`
    select s.reason, sum(s.entries - coalesce(p.entries, 0)) as entries,
      sum(s.readable - coalesce(p.readable, 0)) as readable,
      sum(s.ms_at_risk - coalesce(p.ms_at_risk, 0)) as ms_at_risk
    from royalty.seal_quarantined s left join royalty.seal_quarantined p
      on p.stream = s.stream and p.reason = s.reason and p.recognised_day = ${before}::text::date
    where s.recognised_day = ${day}::text::date
    group by s.reason having sum(s.entries - coalesce(p.entries, 0)) > 0
    order by s.reason collate "C"`;
  return rows.map((row) => ({
    reason: row.reason,
    entries: Number(row.entries),
    readable: Number(row.readable),
    ms_at_risk: Number(row.ms_at_risk),
  }));
}

interface SettledGapRow {
  readonly stream: string;
  readonly first_seq: string;
  readonly last_seq: string;
  readonly settled_by: string;
  readonly settled_reason: string;
  readonly settled_at: Date;
}

async function readSettledGaps(
  tx: TransactionSql,
  day: string,
  before: string | null,
): Promise<SettledGap[]> {
  // A day cannot be sealed while gaps are open, so all of these are settled.
  const rows = await tx<SettledGapRow[]>`
    select g.stream, g.first_seq, g.last_seq, g.settled_by, g.settled_reason, g.settled_at
    from royalty.gap g
      join royalty.seal_position s on s.stream = g.stream
        and s.recognised_day = ${day}::text::date and g.last_seq <= s.last_seq
      left join royalty.seal_position p on p.stream = g.stream
        and p.recognised_day = ${before}::text::date
    where g.first_seq > coalesce(p.last_seq, 0) order by g.stream collate "C", g.first_seq`;
  return rows.map((row) => ({
    stream: row.stream,
    first_seq: Number(row.first_seq),
    last_seq: Number(row.last_seq),
    by: row.settled_by,
    reason: row.settled_reason,
    at: row.settled_at.toISOString(),
  }));
}
