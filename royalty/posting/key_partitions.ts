/**
 * Keeps the key table in days: makes partitions before they are needed and drops those that
 * `event_key.ts` lets go.
 *
 * All of it happens in one transaction that holds the key table alone. So no posting sees half of it,
 * and of two processes the second finds nothing left to do. It takes milliseconds, a few times a
 * day; it waits for the table no longer than {@link LOCK_WAIT_MS}, and tries again later, because
 * nothing depends on the hour: days without a partition are kept in the default one, and move when
 * theirs is made.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import { Stop } from "../../shared/process/errors.ts";
import type { Log } from "../../shared/process/log.ts";
import { runFormatted } from "../../shared/process/postgres/formatted.ts";
import { withRetryable } from "../../shared/process/postgres/passing.ts";
import { patiently, type Queryable } from "../../shared/process/postgres/pool.ts";
import { pause, untilReady } from "../../shared/process/retry.ts";
import type { Service } from "../../shared/process/service.ts";
import { readPositions } from "../books/accounts.ts";
import {
  dateOf,
  dayNumber,
  firstIdOf,
  idAgeLimitMs,
  type KeyPlan,
  KEYS_SINCE_MS,
  planKeys,
} from "./event_key.ts";
import { connectBooks } from "../books/connection.ts";
import { countedStreams, type royaltySettings } from "../settings.ts";

const ROUND_MS = 3_600_000;
const LOCK_WAIT_MS = 3_000;
/** Longest silence of Postgres over one statement, ms: keys that move or go may be many. */
const SILENCE_MS = 300_000;
const DAY_MS = 86_400_000;
/** Other keys are deleted in runs of this many, so that no transaction is long. */
const DELETED_AT_ONCE = 20_000;

/** What is kept of which streams. */
export interface KeyKeeping {
  /** Streams that this database counts. */
  readonly streams: readonly string[];
  readonly latenessHorizonMs: number;
  /** How long keys of other UUIDs are kept, the lateness horizon at least, ms; 0: for ever. */
  readonly otherKeysMs: number;
}

/** What one round did; days as `YYYY-MM-DD`. */
export interface KeyRound {
  readonly made: readonly string[];
  readonly dropped: readonly string[];
  /** Keys of other UUIDs that were deleted. */
  readonly otherDeleted: number;
}

interface ForgottenRow {
  readonly before_day: string;
}

interface PartitionRow {
  /** `YYYYMMDD` */
  readonly day: string;
}

/** One round of work at `now`, ms. Rejects with `RetryAfter` for what passes; nothing is half done then. */
export async function keepKeys(sql: Sql, keeping: KeyKeeping, now: number): Promise<KeyRound> {
  return await withRetryable(() => patiently(sql, SILENCE_MS, () => keepRound(sql, keeping, now)));
}

async function keepRound(sql: Sql, keeping: KeyKeeping, now: number): Promise<KeyRound> {
  const plan = await planNow(sql, keeping, now);
  const hasWork = plan.make.length + plan.drop.length > 0;
  const done = hasWork ? await applyPlan(sql, keeping, now) : { make: [], drop: [] };
  return {
    made: done.make.map(dateOf),
    dropped: done.drop.map(dateOf),
    otherDeleted: await deleteOther(sql, keeping, now),
  };
}

/**
 * Rejects with {@link Stop} when keys were forgotten that the rules would still have to know: the
 * lateness horizon was raised, and the days in between are gone.
 */
export async function checkForgotten(sql: Sql, keeping: KeyKeeping): Promise<void> {
  const [row] = await sql<ForgottenRow[]>`
    select before_day::text from royalty.keys_forgotten`;
  const readTo = await readToOf(sql, keeping.streams);
  if (!row || readTo === undefined) return;
  const remembered = Date.parse(`${row.before_day}T00:00:00Z`);
  const needed = readTo - idAgeLimitMs(keeping.latenessHorizonMs);
  // From the first of the books on nothing was forgotten.
  if (remembered <= needed || remembered <= KEYS_SINCE_MS) return;
  throw new Stop(
    `keys of events before ${row.before_day} are dropped, but TWOFOLD_LATENESS_HORIZON_MS ` +
      `${keeping.latenessHorizonMs} needs them from ${
        dateOf(dayNumber(needed))
      } on: an event could ` +
      "count twice. Set it back; raise it by a day each day at most",
  );
}

async function planNow(
  sql: Queryable,
  { streams, latenessHorizonMs }: KeyKeeping,
  now: number,
): Promise<KeyPlan> {
  const readTo = await readToOf(sql, streams);
  return planKeys(await keptDays(sql), { now, readTo, latenessHorizonMs });
}

/** The receipt time that every stream is read to, ms; undefined while one was never read. */
async function readToOf(
  sql: Queryable,
  streams: readonly string[],
): Promise<number | undefined> {
  const positions = await readPositions(sql);
  const readTo = new Map(positions.map(({ stream, lastReceivedAt }) => [stream, lastReceivedAt]));
  for (const stream of streams) if (!readTo.has(stream)) readTo.set(stream, 0);
  return Math.min(...readTo.values()) || undefined;
}

async function keptDays(sql: Queryable): Promise<number[]> {
  const rows = await sql<PartitionRow[]>`
    select substring(c.relname from '\\d{8}$') as day
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'royalty.event_key_v7'::regclass and c.relname ~ '_\\d{8}$'`;
  return rows.map(({ day }) =>
    dayNumber(Date.parse(`${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}T00:00:00Z`))
  );
}

async function applyPlan(sql: Sql, keeping: KeyKeeping, now: number): Promise<KeyPlan> {
  return await sql.begin(async (tx) => {
    await runFormatted(tx, "set local lock_timeout = %L", String(LOCK_WAIT_MS));
    // Postings wait behind this one: a process that lost its network must not stop them for long.
    await tx`set local idle_in_transaction_session_timeout = '12s'`;
    await tx`lock table royalty.event_key_v7 in access exclusive mode`;
    // Another process may have done it while this one waited.
    const plan = await planNow(tx, keeping, now);
    for (const day of plan.make) await makeDay(tx, day);
    for (const day of plan.drop) await tx`drop table ${tx(`royalty.${partitionOf(day)}`)}`;
    if (plan.forgetBefore !== undefined) await forgetBefore(tx, plan.forgetBefore);
    return plan;
  });
}

function partitionOf(day: number): string {
  return `event_key_v7_${dateOf(day).replaceAll("-", "")}`;
}

// Its keys leave the default partition first: Postgres refuses an overlap.
async function makeDay(tx: TransactionSql, day: number): Promise<void> {
  const name = partitionOf(day);
  const partition = tx(`royalty.${name}`);
  const [from, to] = [firstIdOf(day), firstIdOf(day + 1)];
  await tx`create table ${partition} (like royalty.event_key_v7 including all)`;
  await tx`
    insert into ${partition} select event_id, fingerprint from royalty.event_key_v7_stray
    where event_id >= ${from}::text::uuid and event_id < ${to}::text::uuid`;
  await tx`
    delete from royalty.event_key_v7_stray
    where event_id >= ${from}::text::uuid and event_id < ${to}::text::uuid`;
  await runFormatted(
    tx,
    "alter table royalty.event_key_v7 attach partition royalty.%I for values from (%L) to (%L)",
    ...[name, from, to],
  );
}

// Stray keys of days that never had a partition go too; those of made-up times stay.
async function forgetBefore(tx: TransactionSql, day: number): Promise<void> {
  await tx`
    delete from royalty.event_key_v7_stray
    where event_id >= ${firstIdOf(dayNumber(KEYS_SINCE_MS))}::text::uuid
      and event_id < ${firstIdOf(day)}::text::uuid`;
  await tx`
    insert into royalty.keys_forgotten as k (before_day) values (${dateOf(day)}::text::date)
    on conflict (one) do update set before_day = greatest(k.before_day, excluded.before_day)`;
}

// An identical copy is too late a lateness horizon after the first; nothing earlier may go.
async function deleteOther(
  sql: Sql,
  { streams, latenessHorizonMs, otherKeysMs }: KeyKeeping,
  now: number,
): Promise<number> {
  const readTo = await readToOf(sql, streams);
  if (otherKeysMs === 0 || readTo === undefined) return 0;
  const keptMs = Math.max(otherKeysMs, idAgeLimitMs(latenessHorizonMs)) + DAY_MS;
  const before = dateOf(dayNumber(Math.min(readTo, now) - keptMs));
  for (let total = 0;;) {
    const { count } = await sql`
      delete from royalty.event_key_other where ctid = any(array(
        select ctid from royalty.event_key_other
        where received_day < ${before}::text::date limit ${DELETED_AT_ONCE}))`;
    total += count;
    if (count < DELETED_AT_ONCE) return total;
  }
}

/**
 * Checks what was forgotten, then keeps keys once an hour until the stop. Resolves after the first
 * round, so that counting begins with partitions in place.
 */
export async function startKeyPartitions(
  service: Service<typeof royaltySettings>,
  now: () => number,
): Promise<void> {
  const { settings, log, signal } = service;
  const part = service.health.part("keys", "the key table is not looked at yet");
  const sql = connectBooks(settings.TWOFOLD_POSTGRES_URL);
  service.onStop("keys", () => sql.end({ timeout: 2 }));
  const keeping: KeyKeeping = {
    streams: countedStreams(settings),
    latenessHorizonMs: settings.TWOFOLD_LATENESS_HORIZON_MS,
    otherKeysMs: settings.TWOFOLD_OTHER_KEYS_MS,
  };
  await untilReady(signal, log, async () => {
    await withRetryable(() => checkForgotten(sql, keeping));
    await round(sql, keeping, now(), log);
  }, part);
  void (async () => {
    while (!signal.aborted) {
      await pause(ROUND_MS, signal);
      if (!signal.aborted) await round(sql, keeping, now(), log);
    }
  })();
}

// A round that fails is no trouble for days: keys without a partition are kept all the same.
async function round(sql: Sql, keeping: KeyKeeping, now: number, log: Log): Promise<void> {
  try {
    const { made, dropped, otherDeleted } = await keepKeys(sql, keeping, now);
    if (made.length + dropped.length + otherDeleted === 0) return;
    log.info("royalty.keys.changed", { made, dropped, other_deleted: otherDeleted });
  } catch (error) {
    log.warn("royalty.keys.retry", { error });
  }
}
