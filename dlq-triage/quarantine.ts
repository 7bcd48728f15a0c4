/**
 * The quarantine in Postgres: all SQL of dlq-triage. One operation per function.
 *
 * Guarantees, each with a test of its name in `quarantine_int_test.ts`:
 * - a redelivered entry is stored once and counted once
 * - the original bytes are returned exactly
 * - a reason has a limited number of groups, and a group of all that is beyond
 * - entries past their retention are deleted, and their counts stay
 * - an alert is decided and queued in one transaction, and only one worker opens it
 *
 * Every method rejects with `RetryAfter` while Postgres cannot be used, and with `Stop` when the
 * schema does not exist.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import type { QuarantineAlert } from "../shared/contract/alert.ts";
import { Stop } from "../shared/process/errors.ts";
import { arrayOf, textArrayOf } from "../shared/process/postgres/array_literal.ts";
import { migrate, readMigrations } from "../shared/process/postgres/migrate.ts";
import { isSchemaMissing, withRetryable } from "../shared/process/postgres/transient.ts";
import { allowSilence, openPool } from "../shared/process/postgres/pool.ts";
import { onlyRow } from "../shared/process/postgres/rows.ts";
import { type Entry, type Group, OVERFLOW, overflowOf } from "./classify.ts";
import type { Incident, LargestGroup } from "./limits.ts";
import { DEFAULT_MAX_GROUPS } from "./settings.ts";

/** Maximum time that a migration waits for Postgres, in ms. */
const MAX_MIGRATION_MS = 600_000;
/** Window of the rate of a group, in ms. */
const RATE_WINDOW_MS = 5 * 60_000;

/** With an evaluation every 5 s, a link that is lost shows in `/readyz` within 15 s. */
const SERVICE_SILENCE_MS = 8_000;
/** Entries that one call of {@link Quarantine.forget} deletes at most. */
const MAX_FORGOTTEN = 10_000;

/** A group as `deno task triage list` shows it; times are ms since the epoch. */
export interface GroupRow extends Group {
  /** Receipt of its first and last heartbeat, ms since the epoch. */
  readonly firstSeenMs: number;
  readonly lastSeenMs: number;
  readonly entries: number;
  /** Entries per minute over the last five minutes. */
  readonly perMinute: number;
  /** Distinct device ids among the entries that name one. */
  readonly devices: number;
}

/** An entry as it is stored. */
export interface EntryRow extends Omit<Entry, "group"> {
  readonly entryId: number;
}

/** The measurements of the quarantine that have limits. */
export interface Measurements {
  /** Entries within the depth window. */
  readonly depth: number;
  /** Entries within the last minute. */
  readonly growthPerMinute: number;
  /** Number of groups. */
  readonly groups: number;
}

/** An alert that waits to be published to ALERTS. */
export interface OutboxMessage {
  readonly messageId: string;
  readonly subject: string;
  readonly alert: QuarantineAlert;
}

/** The outcome of storing a batch, in entries. */
export interface StoreOutcome {
  readonly added: number;
  /** Stored before: redelivered, or rejected by both live and royalty. */
  readonly known: number;
}

/** Options of {@link Quarantine}. */
export interface QuarantineOptions {
  /** Maximum time without a byte from Postgres while a query waits for one, ms. */
  readonly silenceMs?: number;
  /** Groups of one reason, besides the overflow; a batch of another process may add its own. */
  readonly maxGroups?: number;
}

/** The quarantine in Postgres; several processes may use it. */
export class Quarantine implements AsyncDisposable {
  readonly #sql: Sql;

  readonly #maxGroups: number;

  /** Connects on first use. */
  constructor(url: string, options: QuarantineOptions = {}) {
    const { silenceMs = SERVICE_SILENCE_MS, maxGroups = DEFAULT_MAX_GROUPS } = options;
    this.#sql = openPool(url, { purpose: "triage", max: 3, silenceMs });
    this.#maxGroups = maxGroups;
  }

  /** Migrates the schema; returns the names of the migrations applied. */
  async migrate(): Promise<string[]> {
    const migrations = await readMigrations(new URL("migrations/", import.meta.url));
    return await retryable(() =>
      allowSilence(this.#sql, MAX_MIGRATION_MS, () => migrate(this.#sql, "triage", migrations))
    );
  }

  /** Stores a batch: entries, groups and tally in one statement. Idempotent. */
  async store(entries: readonly Entry[]): Promise<StoreOutcome> {
    if (entries.length === 0) return { added: 0, known: 0 };
    const added = await retryable(() => insertEntries(this.#sql, entries, this.#maxGroups));
    return { added, known: entries.length - added };
  }

  /** The groups seen last, newest first; their rates are as of `nowMs` (since the epoch). */
  async groups(nowMs: number, limit: number): Promise<GroupRow[]> {
    return await retryable(() => selectGroups(this.#sql, nowMs, limit));
  }

  /** The groups whose id starts with `prefix`, at most `limit`. */
  async groupsLike(nowMs: number, prefix: string, limit: number): Promise<GroupRow[]> {
    return await retryable(() => selectGroups(this.#sql, nowMs, limit, prefix));
  }

  /** The newest entries of a group, at most `limit`. */
  async entries(groupId: string, limit: number): Promise<EntryRow[]> {
    return await retryable(() => selectEntries(this.#sql, groupId, limit));
  }

  /** Measures the quarantine at `nowMs` (since the epoch). */
  async measure(nowMs: number, depthWindowMs: number): Promise<Measurements> {
    return await retryable(() => selectMeasurements(this.#sql, nowMs, depthWindowMs));
  }

  /** The group with the most entries in the minute before `nowMs`, if there are entries. */
  async largestGroup(nowMs: number): Promise<LargestGroup | undefined> {
    return await retryable(() => selectLargestGroup(this.#sql, nowMs));
  }

  /** The open incidents. */
  async openIncidents(): Promise<Incident[]> {
    return await retryable(() => selectOpenIncidents(this.#sql));
  }

  /**
   * Opens `incident` and queues its alert; false, changing nothing, if its measure has an open one.
   */
  async open(incident: Incident, message: OutboxMessage): Promise<boolean> {
    return await this.#decide(message, (tx) =>
      tx<IncidentRow[]>`
      insert into triage.incident (incident_id, measure, opened_at_ms)
      values (${incident.incidentId}, ${incident.measure}, ${incident.openedAtMs})
      on conflict do nothing returning incident_id as "incidentId"`);
  }

  /**
   * Resolves `incident` at `at` and queues its alert; false, changing nothing, if it is resolved.
   */
  async resolve(incident: Incident, at: number, message: OutboxMessage): Promise<boolean> {
    return await this.#decide(message, (tx) =>
      tx<IncidentRow[]>`
      update triage.incident set resolved_at_ms = ${at}
      where incident_id = ${incident.incidentId} and resolved_at_ms is null
      returning incident_id as "incidentId"`);
  }

  /** Alerts not yet published, oldest first, at most 100. */
  async outbox(): Promise<OutboxMessage[]> {
    return await retryable(() => selectOutbox(this.#sql));
  }

  /** Deletes an alert that ALERTS has acknowledged from the outbox. */
  async deleteFromOutbox(messageId: string): Promise<void> {
    await retryable(() => this.#sql`delete from triage.outbox where message_id = ${messageId}`);
  }

  /**
   * Deletes entries that QUARANTINE stored more than `maxAgeMs` before `nowMs` (since the epoch), at
   * most {@link MAX_FORGOTTEN}; their groups and counts stay. Of a reason that has as many groups as it
   * may, groups that have no entry left become part of the overflow. Returns the number of entries.
   *
   * An age is that at the newest entry, if this is less: a clock that is ahead deletes nothing.
   */
  async forget(nowMs: number, maxAgeMs: number): Promise<number> {
    return await retryable(async () => {
      const newest = await this.#sql<NewestRow[]>`
        select max(quarantined_at_ms)::float8 as at from triage.entry`;
      const beforeMs = Math.min(nowMs, onlyRow(newest, "the newest entry").at ?? 0) - maxAgeMs;
      const { count } = await this.#sql`
        delete from triage.entry where ctid = any(array(
          select ctid from triage.entry where quarantined_at_ms < ${beforeMs}
          order by quarantined_at_ms limit ${MAX_FORGOTTEN}))`;
      const full = await this.#sql<ReasonRow[]>`
        select reason from triage.entry_group where path <> ${OVERFLOW}
        group by reason having count(*) >= ${this.#maxGroups} order by reason`;
      for (const { reason } of full) await foldGroups(this.#sql, overflowOf(reason), beforeMs);
      return count;
    });
  }

  /** Deletes the tally of the time before `beforeMs` (since the epoch). */
  async deleteTally(beforeMs: number): Promise<void> {
    await retryable(() => this.#sql`delete from triage.tally where second_ms < ${beforeMs}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sql.end({ timeout: 5 });
  }

  async #decide(
    { messageId, subject, alert }: OutboxMessage,
    change: (tx: TransactionSql) => PromiseLike<readonly IncidentRow[]>,
  ): Promise<boolean> {
    return await retryable(() =>
      this.#sql.begin(async (tx) => {
        if ((await change(tx)).length === 0) return false;
        await tx`
          insert into triage.outbox (message_id, subject, payload)
          values (${messageId}, ${subject}, ${tx.json(alert)})`;
        return true;
      })
    );
  }
}

/** An incident that was changed. */
interface IncidentRow {
  readonly incidentId: string;
}

interface NewestRow {
  /** Ms since the epoch; null without entries. */
  readonly at: number | null;
}

interface ReasonRow {
  readonly reason: string;
}

interface AddedRow {
  readonly added: number;
}

// Bodies are passed as hex: the driver has no arrays of bytea. Rows are inserted in key order, so
// that two workers with the same entries wait for each other instead of deadlocking.
async function insertEntries(
  sql: Sql,
  entries: readonly Entry[],
  maxGroups: number,
): Promise<number> {
  const rows = await sql<AddedRow[]>`
    with named as (
      select * from unnest(
        ${textArrayOf(entries.map((e) => e.group.groupId))}::text::text[],
        ${textArrayOf(entries.map((e) => e.group.reason))}::text::text[],
        ${textArrayOf(entries.map((e) => e.group.path))}::text::text[],
        ${textArrayOf(entries.map((e) => e.group.build))}::text::text[],
        ${textArrayOf(entries.map((e) => e.detail))}::text::text[],
        ${textArrayOf(entries.map((e) => e.sourceStream))}::text::text[],
        ${arrayOf(entries.map((e) => e.sourceSequence))}::text::bigint[],
        ${arrayOf(entries.map((e) => e.sourceIndex))}::text::smallint[],
        ${textArrayOf(entries.map((e) => e.rejectedBy))}::text::text[],
        ${arrayOf(entries.map((e) => e.receivedAtMs))}::text::bigint[],
        ${arrayOf(entries.map((e) => e.quarantinedAt))}::text::bigint[],
        ${textArrayOf(entries.map((e) => e.subject))}::text::text[],
        ${textArrayOf(entries.map((e) => e.deviceId))}::text::text[],
        ${textArrayOf(entries.map((e) => e.bytes.toHex()))}::text::text[],
        ${textArrayOf(entries.map((e) => overflowOf(e.group.reason).groupId))}::text::text[]
      ) with ordinality as a (group_id, reason, path, build, detail, source_stream,
              source_sequence, source_index, rejected_by, received_at_ms, quarantined_at_ms, subject,
              device_id, hex, overflow_id, place)
    ), fresh as (
      select group_id, reason, row_number() over (partition by reason order by min(place)) as nth
      from named where not exists (
        select from triage.entry_group known where known.group_id = named.group_id)
      group by group_id, reason
    ), beyond as (
      select group_id from fresh left join (
        select reason, count(*) as groups from triage.entry_group where path <> ${OVERFLOW}
        group by reason) existing using (reason)
      where nth + coalesce(groups, 0) > ${maxGroups}
    ), arrived as (
      select case when is_beyond then overflow_id else group_id end as group_id, reason,
        case when is_beyond then ${OVERFLOW} else path end as path,
        case when is_beyond then ${OVERFLOW} else build end as build,
        detail, source_stream, source_sequence, source_index, rejected_by, received_at_ms,
        quarantined_at_ms, subject, device_id, hex, place
      from (select *, group_id in (select group_id from beyond) as is_beyond from named) placed
    ), added as (
      insert into triage.entry (group_id, detail, source_stream, source_sequence, source_index,
        rejected_by, received_at_ms, quarantined_at_ms, subject, device_id, body)
      select group_id, detail, source_stream, source_sequence, source_index, rejected_by,
        received_at_ms, quarantined_at_ms, subject, device_id, decode(hex, 'hex')
      from arrived order by source_stream, source_sequence, source_index, place
      on conflict do nothing
      returning group_id, received_at_ms, quarantined_at_ms
    ), grouped as (
      insert into triage.entry_group as g
        (group_id, reason, path, build, first_seen_ms, last_seen_ms, entries)
      select group_id, reason, path, build, min(received_at_ms), max(received_at_ms), count(*)
      from added join (select distinct group_id, reason, path, build from arrived) groups
        using (group_id)
      group by group_id, reason, path, build order by group_id
      on conflict (group_id) do update set
        first_seen_ms = least(g.first_seen_ms, excluded.first_seen_ms),
        last_seen_ms = greatest(g.last_seen_ms, excluded.last_seen_ms),
        entries = g.entries + excluded.entries
    ), tallied as (
      insert into triage.tally as t (second_ms, entries)
      select quarantined_at_ms / 1000 * 1000 as second_ms, count(*) from added group by 1 order by 1
      on conflict (second_ms) do update set entries = t.entries + excluded.entries
    )
    select count(*)::int as added from added`;
  return onlyRow(rows, "entries added").added;
}

/** Adds the groups of a reason that were last seen before `beforeMs` and have no entry to `overflow`. */
async function foldGroups(sql: Sql, overflow: Group, beforeMs: number): Promise<void> {
  const { groupId, reason, path, build } = overflow;
  await sql<ReasonRow[]>`
    with folded as (
      delete from triage.entry_group g
      where reason = ${reason} and path <> ${path} and last_seen_ms < ${beforeMs}
        and not exists (select from triage.entry e where e.group_id = g.group_id)
      returning first_seen_ms, last_seen_ms, entries
    )
    insert into triage.entry_group as g
      (group_id, reason, path, build, first_seen_ms, last_seen_ms, entries)
    select ${groupId}, ${reason}, ${path}, ${build}, min(first_seen_ms), max(last_seen_ms),
      sum(entries)
    from folded having count(*) > 0
    on conflict (group_id) do update set
      first_seen_ms = least(g.first_seen_ms, excluded.first_seen_ms),
      last_seen_ms = greatest(g.last_seen_ms, excluded.last_seen_ms),
      entries = g.entries + excluded.entries
    returning reason`;
}

async function selectGroups(
  sql: Sql,
  nowMs: number,
  limit: number,
  prefix = "",
): Promise<GroupRow[]> {
  return [
    ...await sql<GroupRow[]>`
    select g.group_id as "groupId", reason, path, build, first_seen_ms::float8 as "firstSeenMs",
      last_seen_ms::float8 as "lastSeenMs", g.entries::float8 as entries,
      recent.n::float8 / ${RATE_WINDOW_MS / 60_000} as "perMinute", seen.n::float8 as devices
    from triage.entry_group g,
      lateral (select count(*) as n from triage.entry e
        where e.group_id = g.group_id
          and e.quarantined_at_ms > ${nowMs - RATE_WINDOW_MS}::bigint) recent,
      lateral (select count(distinct device_id) as n from triage.entry e
        where e.group_id = g.group_id) seen
    where starts_with(g.group_id, ${prefix})
    order by last_seen_ms desc, g.entries desc, g.group_id limit ${limit}`,
  ];
}

async function selectEntries(sql: Sql, groupId: string, limit: number): Promise<EntryRow[]> {
  return [
    ...await sql<EntryRow[]>`
    select entry_id::float8 as "entryId", detail, source_stream as "sourceStream",
      source_sequence::float8 as "sourceSequence", source_index as "sourceIndex",
      rejected_by as "rejectedBy",
      received_at_ms::float8 as "receivedAtMs", quarantined_at_ms::float8 as "quarantinedAt",
      subject, device_id as "deviceId", body as bytes
    from triage.entry where group_id = ${groupId}
    order by quarantined_at_ms desc, entry_id desc limit ${limit}`,
  ];
}

async function selectMeasurements(
  sql: Sql,
  nowMs: number,
  depthWindowMs: number,
): Promise<Measurements> {
  const rows = await sql<Measurements[]>`
    select
      (select coalesce(sum(entries), 0)::float8 from triage.tally
        where second_ms > ${nowMs - depthWindowMs}) as depth,
      (select coalesce(sum(entries), 0)::float8 from triage.tally
        where second_ms > ${nowMs - 60_000}) as "growthPerMinute",
      (select count(*)::float8 from triage.entry_group) as groups`;
  return onlyRow(rows, "the measurements");
}

async function selectLargestGroup(sql: Sql, nowMs: number): Promise<LargestGroup | undefined> {
  const [row] = await sql<LargestGroup[]>`
    select group_id as "groupId", reason, path, build, recent.entries::float8 as entries
    from (
      select group_id, count(*) as entries from triage.entry
      where quarantined_at_ms > ${nowMs - 60_000}
      group by group_id order by entries desc, group_id limit 1
    ) recent join triage.entry_group using (group_id)`;
  return row;
}

async function selectOpenIncidents(sql: Sql): Promise<Incident[]> {
  return [
    ...await sql<Incident[]>`
    select incident_id as "incidentId", measure, opened_at_ms::float8 as "openedAtMs"
    from triage.incident where resolved_at_ms is null order by measure`,
  ];
}

async function selectOutbox(sql: Sql): Promise<OutboxMessage[]> {
  return [
    ...await sql<OutboxMessage[]>`
    select message_id as "messageId", subject, payload as alert
    from triage.outbox order by outbox_id limit 100`,
  ];
}

async function retryable<T>(run: () => PromiseLike<T>): Promise<T> {
  try {
    return await withRetryable(run);
  } catch (error) {
    if (!isSchemaMissing(error)) throw error;
    throw new Stop("the triage service has not run on this database yet", { cause: error });
  }
}
