/**
 * Maintains the daily partitions of the key table: makes them in advance and drops those that
 * `event_key.ts` allows.
 *
 * Each round is one transaction with an exclusive lock on the key table, so no posting sees an
 * intermediate state, and a second process finds nothing to do. It takes milliseconds, a few times a
 * day. It waits for the lock at most {@link LOCK_WAIT_MS} and is retried an hour later. A delay does
 * no harm: keys without a partition go to the default partition and move when theirs is made.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import type { ComparedClocks } from "../../shared/process/clock/clocks.ts";
import type { Log } from "../../shared/process/log.ts";
import { runFormatted } from "../../shared/process/postgres/formatted.ts";
import { withRetryable } from "../../shared/process/postgres/transient.ts";
import { allowSilence, type Queryable } from "../../shared/process/postgres/pool.ts";
import { pause } from "../../shared/process/retry.ts";
import type { Service } from "../../shared/process/service.ts";
import { readPositions } from "../books/accounts.ts";
import {
  dateOf,
  dayNumber,
  firstIdOf,
  idAgeLimitMs,
  type KeyPlan,
  KEYS_SINCE_MS,
  madeAt,
  planKeys,
} from "./event_key.ts";
import { connectBooks } from "../books/connection.ts";
import { countedStreams, type royaltySettings } from "../settings.ts";

const ROUND_MS = 3_600_000;
const LOCK_WAIT_MS = 3_000;
/** Maximum silence of Postgres during one statement, which may move or delete many keys. */
const SILENCE_MS = 300_000;
const DAY_MS = 86_400_000;
/** Other keys are deleted in transactions of this many rows. */
const MAX_DELETED_ROWS = 20_000;

interface OldestDayRow {
  /** `YYYY-MM-DD` */
  readonly day: string | null;
}

interface OldestRow {
  readonly event_id: string;
}

/** How long keys are kept. */
export interface KeyRetention {
  /** Streams that are counted in this database. */
  readonly streams: readonly string[];
  /** Maximum age of an event at receipt, ms. */
  readonly latenessHorizonMs: number;
  /** How long keys of ids other than UUIDv7 are kept, ms, at least the horizon; 0: forever. */
  readonly otherKeysMs: number;
}

/** The changes of one round; days are `YYYY-MM-DD`. */
export interface KeyMaintenance {
  readonly made: readonly string[];
  /** At most one day in a round. */
  readonly dropped: string | undefined;
  /** Number of keys of other ids that were deleted. */
  readonly otherDeleted: number;
}

interface DroppedRow {
  readonly before_day: string;
}

interface PartitionRow {
  /** `YYYYMMDD` */
  readonly day: string;
}

/**
 * Makes and drops partitions, and deletes old keys of other ids, as needed at `now` (ms since the
 * epoch). Rejects with `RetryAfter` on a transient error; the partitions are then unchanged.
 */
export async function maintainKeys(
  sql: Sql,
  retention: KeyRetention,
  now: number,
): Promise<KeyMaintenance> {
  return await withRetryable(() =>
    allowSilence(sql, SILENCE_MS, () => maintain(sql, retention, now))
  );
}

async function maintain(sql: Sql, retention: KeyRetention, now: number): Promise<KeyMaintenance> {
  const plan = await planNow(sql, retention, now);
  const hasWork = plan.make.length > 0 || plan.drop !== undefined;
  const done = hasWork ? await applyPlan(sql, retention, now) : plan;
  return {
    made: done.make.map(dateOf),
    dropped: done.drop === undefined ? undefined : dateOf(done.drop),
    otherDeleted: await deleteOther(sql, retention, now),
  };
}

async function planNow(
  sql: Queryable,
  { streams, latenessHorizonMs }: KeyRetention,
  now: number,
): Promise<KeyPlan> {
  const readTo = await readToOf(sql, streams);
  const oldest = await oldestStray(sql);
  return planKeys(await keptDays(sql), { now, readTo, oldest, latenessHorizonMs });
}

/** The oldest day of the default partition from which keys may be dropped. */
async function oldestStray(sql: Queryable): Promise<number | undefined> {
  const [row] = await sql<OldestRow[]>`
    select event_id::text from royalty.event_key_v7_stray
    where event_id >= ${firstIdOf(dayNumber(KEYS_SINCE_MS))}::text::uuid
    order by event_id limit 1`;
  const made = madeAt(row?.event_id ?? "");
  return made === undefined ? undefined : dayNumber(made);
}

/** The receipt time up to which every stream was read, ms; undefined while one was never read. */
async function readToOf(
  sql: Queryable,
  streams: readonly string[],
): Promise<number | undefined> {
  const positions = await readPositions(sql);
  const readTo = new Map(
    positions.map(({ stream, lastReceivedAtMs }) => [stream, lastReceivedAtMs]),
  );
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

async function applyPlan(sql: Sql, retention: KeyRetention, now: number): Promise<KeyPlan> {
  return await sql.begin(async (tx) => {
    await runFormatted(tx, "set local lock_timeout = %L", String(LOCK_WAIT_MS));
    // Postings wait for this transaction, so one that lost its network is ended soon.
    await tx`set local idle_in_transaction_session_timeout = '12s'`;
    // Postings hold it from their plan's check to their commit, so that none of them enters an id
    // whose key was dropped after the check. Before the table, in the order of postings.
    await tx<DroppedRow[]>`select before_day::text from royalty.keys_forgotten for update`;
    await tx`lock table royalty.event_key_v7 in access exclusive mode`;
    // Planned again, because another process may have done the work while this one waited.
    const plan = await planNow(tx, retention, now);
    for (const day of plan.make) await makeDay(tx, day);
    if (plan.drop !== undefined) await dropDay(tx, plan.drop);
    return plan;
  });
}

/** What a function returns that returns nothing. */
interface VoidRow {
  readonly done: "";
}

async function makeDay(tx: TransactionSql, day: number): Promise<void> {
  await tx<VoidRow[]>`select royalty.make_key_day(${dateOf(day)}::text::date) as done`;
}

async function dropDay(tx: TransactionSql, day: number): Promise<void> {
  await tx<VoidRow[]>`select royalty.drop_key_day(${dateOf(day)}::text::date) as done`;
}

// Keys are kept for at least the lateness horizon, after which identical copies are too late. At most
// one day of them is deleted in a round.
async function deleteOther(
  sql: Sql,
  { streams, latenessHorizonMs, otherKeysMs }: KeyRetention,
  now: number,
): Promise<number> {
  const readTo = await readToOf(sql, streams);
  if (otherKeysMs === 0 || readTo === undefined) return 0;
  const keptMs = Math.max(otherKeysMs, idAgeLimitMs(latenessHorizonMs)) + DAY_MS;
  const before = dateOf(dayNumber(Math.min(readTo, now) - keptMs));
  const [row] = await sql<OldestDayRow[]>`
    select min(received_day)::text as day from royalty.event_key_other
    where received_day < ${before}::text::date`;
  const oldest = row?.day ?? null;
  if (oldest === null) return 0;
  // Before the first key is gone. An event may be received a day before its ts.
  await sql`
    update royalty.keys_forgotten
    set other_before_day = greatest(other_before_day, ${oldest}::text::date + 2)`;
  for (let total = 0;;) {
    const { count } = await sql`
      delete from royalty.event_key_other where ctid = any(array(
        select ctid from royalty.event_key_other
        where received_day = ${oldest}::text::date limit ${MAX_DELETED_ROWS}))`;
    total += count;
    if (count < MAX_DELETED_ROWS) return total;
  }
}

/**
 * Maintains keys once an hour until the stop. Resolves after the first round, so that partitions exist
 * before posting starts. Nothing is made or dropped while clocks differ.
 */
export async function startKeyPartitions(
  service: Service<typeof royaltySettings>,
  clocks: Pick<ComparedClocks, "agreedMs">,
): Promise<void> {
  const { settings, log, signal } = service;
  const sql = connectBooks(settings.TWOFOLD_POSTGRES_URL);
  service.onStop("keys", () => sql.end({ timeout: 2 }));
  const retention: KeyRetention = {
    streams: countedStreams(settings),
    latenessHorizonMs: settings.TWOFOLD_LATENESS_HORIZON_MS,
    otherKeysMs: settings.TWOFOLD_OTHER_KEYS_MAX_AGE_MS,
  };
  await runRound(sql, retention, clocks, log);
  void (async () => {
    while (!signal.aborted) {
      await pause(ROUND_MS, signal);
      if (!signal.aborted) await runRound(sql, retention, clocks, log);
    }
  })();
}

// A failure is only logged: keys without a partition go to the default partition.
async function runRound(
  sql: Sql,
  retention: KeyRetention,
  clocks: Pick<ComparedClocks, "agreedMs">,
  log: Log,
): Promise<void> {
  try {
    const now = await clocks.agreedMs();
    const { made, dropped, otherDeleted } = await maintainKeys(sql, retention, now);
    if (made.length + otherDeleted === 0 && dropped === undefined) return;
    log.info("royalty.keys.changed", { made, dropped, other_deleted: otherDeleted });
  } catch (error) {
    log.warn("royalty.keys.retry", { error });
  }
}
