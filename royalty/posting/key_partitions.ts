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
import type { Settings } from "../../shared/process/config.ts";
import { messageOf, RetryAfter, Stop } from "../../shared/process/errors.ts";
import { type Lifecycle, pause, untilReady } from "../../shared/process/lifecycle.ts";
import type { Log } from "../../shared/process/log.ts";
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
import { type countedSettings, countedStreams } from "../settings.ts";

const ROUND_MS = 3_600_000;
const LOCK_WAIT_MS = 3_000;
const DAY_MS = 86_400_000;
/** Other keys are deleted in runs of this many, so that no transaction is long. */
const DELETED_AT_ONCE = 20_000;

export interface KeyKeeping {
  /** Streams that this database counts. */
  readonly streams: readonly string[];
  readonly latenessHorizonMs: number;
  /** Days that keys of other UUIDs are kept, the lateness horizon at least; 0: for ever. */
  readonly otherKeysDays: number;
}

/** What one round did; days as `YYYY-MM-DD`. */
export interface KeyRound {
  readonly made: readonly string[];
  readonly dropped: readonly string[];
  /** Keys of other UUIDs that were deleted. */
  readonly otherDeleted: number;
}

/** One round of work at `now`, ms. Rejects with what Postgres threw; nothing is half done then. */
export async function keepKeys(sql: Sql, keeping: KeyKeeping, now: number): Promise<KeyRound> {
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
  const [row] = await sql<{ before_day: string }[]>`
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
  sql: Sql | TransactionSql,
  { streams, latenessHorizonMs }: KeyKeeping,
  now: number,
): Promise<KeyPlan> {
  const readTo = await readToOf(sql, streams);
  return planKeys(await keptDays(sql), { now, readTo, latenessHorizonMs });
}

/** The receipt time that every stream is read to, ms; undefined while one was never read. */
async function readToOf(
  sql: Sql | TransactionSql,
  streams: readonly string[],
): Promise<number | undefined> {
  const rows = await sql<{ stream: string; last_received_ms: string }[]>`
    select stream, last_received_ms from royalty.stream_position`;
  const readTo = new Map(rows.map((row) => [row.stream, Number(row.last_received_ms)]));
  for (const stream of streams) if (!readTo.has(stream)) readTo.set(stream, 0);
  return Math.min(...readTo.values()) || undefined;
}

async function keptDays(sql: Sql | TransactionSql): Promise<number[]> {
  const rows = await sql<{ day: string }[]>`
    select substring(c.relname from '\\d{8}$') as day
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'royalty.event_key_v7'::regclass and c.relname ~ '_\\d{8}$'`;
  return rows.map(({ day }) =>
    dayNumber(Date.parse(`${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}T00:00:00Z`))
  );
}

async function applyPlan(sql: Sql, keeping: KeyKeeping, now: number): Promise<KeyPlan> {
  return await sql.begin(async (tx) => {
    await tx.unsafe(`set local lock_timeout = ${LOCK_WAIT_MS}`);
    await tx`lock table royalty.event_key_v7 in access exclusive mode`;
    // Another process may have done it while this one waited.
    const plan = await planNow(tx, keeping, now);
    for (const day of plan.make) await makeDay(tx, day);
    for (const day of plan.drop) await tx`drop table ${tx(partitionOf(day))}`;
    if (plan.forgetBefore !== undefined) await forgetBefore(tx, plan.forgetBefore);
    return plan;
  });
}

function partitionOf(day: number): string {
  return `royalty.event_key_v7_${dateOf(day).replaceAll("-", "")}`;
}

// Its keys leave the default partition first: Postgres refuses an overlap.
async function makeDay(tx: TransactionSql, day: number): Promise<void> {
  const partition = tx(partitionOf(day));
  const [from, to] = [firstIdOf(day), firstIdOf(day + 1)];
  await tx`create table ${partition} (like royalty.event_key_v7 including all)`;
  await tx`
    with moved as (
      delete from royalty.event_key_v7_stray
      where event_id >= ${from}::text::uuid and event_id < ${to}::text::uuid
      returning event_id, fingerprint
    ) insert into ${partition} select * from moved`;
  // A utility statement takes no parameters; both bounds are made here, of hexadecimal digits.
  await tx`
    alter table royalty.event_key_v7 attach partition ${partition}
    for values from (${tx.unsafe(`'${from}'`)}) to (${tx.unsafe(`'${to}'`)})`;
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
  { streams, latenessHorizonMs, otherKeysDays }: KeyKeeping,
  now: number,
): Promise<number> {
  const readTo = await readToOf(sql, streams);
  if (otherKeysDays === 0 || readTo === undefined) return 0;
  const keptMs = Math.max(otherKeysDays * DAY_MS, idAgeLimitMs(latenessHorizonMs)) + DAY_MS;
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

/** Settings that keeping keys takes. */
export interface KeySettings extends Settings<typeof countedSettings> {
  readonly TWOFOLD_POSTGRES_URL: string;
  readonly TWOFOLD_PARTITIONS: number;
  readonly TWOFOLD_LATENESS_HORIZON_MS: number;
  readonly TWOFOLD_OTHER_KEYS_DAYS: number;
}

/**
 * Checks what was forgotten, then keeps keys once an hour until the stop. Resolves after the first
 * round, so that counting begins with partitions in place.
 */
export async function startKeyPartitions(
  life: Lifecycle,
  settings: KeySettings,
  log: Log,
  now: () => number,
): Promise<void> {
  const sql = connectBooks(settings.TWOFOLD_POSTGRES_URL);
  life.onStop("keys", () => sql.end({ timeout: 2 }));
  const keeping: KeyKeeping = {
    streams: countedStreams(settings),
    latenessHorizonMs: settings.TWOFOLD_LATENESS_HORIZON_MS,
    otherKeysDays: settings.TWOFOLD_OTHER_KEYS_DAYS,
  };
  await untilReady(life.signal, log, () => checkForgotten(sql, keeping).catch(passing));
  await round(sql, keeping, now(), log);
  void (async () => {
    while (!life.signal.aborted) {
      await pause(ROUND_MS, life.signal);
      if (!life.signal.aborted) await round(sql, keeping, now(), log);
    }
  })();
}

function passing(error: unknown): never {
  if (error instanceof Stop) throw error;
  throw new RetryAfter(`Postgres: ${messageOf(error)}`, 1_000, { cause: error });
}

// A round that fails is no trouble for days: keys without a partition are kept all the same.
async function round(sql: Sql, keeping: KeyKeeping, now: number, log: Log): Promise<void> {
  try {
    const { made, dropped, otherDeleted } = await keepKeys(sql, keeping, now);
    if (made.length + dropped.length + otherDeleted === 0) return;
    log.info("key partitions", { made, dropped, otherDeleted });
  } catch (error) {
    log.warn("key partitions stay as they are for now", { error: messageOf(error) });
  }
}
