/**
 * The records of incidents that paged: in memory, and in KV_PAGER before anything stands on them.
 *
 * An alert is acknowledged once its record is stored, and an outcome is stored after the receiver
 * has answered. A pager that dies between the answer and the store leaves a record without the
 * outcome: the next one delivers that message again, with the same key.
 *
 * A pager that stands by reads what is stored every few seconds, so that whichever delivers next has
 * the records in memory when the store is lost. What no memory has either is made again from the
 * open alerts of ALERTS.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { JetStreamManager } from "nats/jetstream";
import { ALERTS, PAGER_STATE, pagerIncidentSubject } from "../../shared/contract/topology.ts";
import { RetryAfter } from "../../shared/process/errors.ts";
import type { Log } from "../../shared/process/log.ts";
import { pause } from "../../shared/process/retry.ts";
import {
  type DeliveryOutcome,
  type IncidentRecord,
  incidentRecordSchema,
  isDone,
  isTooLate,
  mergedRecord,
  withAlert,
  withOutcome,
} from "./incident_record.ts";
import { jsonOf, keptMessages, lastMessages } from "../../shared/process/kept/kept_messages.ts";
import { isOvertaken, type Lease } from "../../shared/process/lease/lease.ts";
import { type Alert, alertSchema, isOpen } from "../../shared/contract/alert.ts";

/** Maximum incidents; beyond it alerts wait in ALERTS. */
export const MAX_INCIDENTS = 10_000;
/** How long the record of an incident is kept once everybody has got its end. */
const DONE_TTL = "1h";
/** How long memory is worth more than a store that was made anew; less than {@link DONE_TTL}. */
const MAX_REMEMBERED_MS = 1_800_000;
const RETRY_MS = 250;
const TIMEOUT_MS = 2_000;
/** How long an incident without news is kept: longer than ALERTS keeps what could end it. */
const MAX_QUIET_MS = 8 * 86_400_000;

interface Entry {
  record: IncidentRecord;
  /** Sequence of the stored record; 0: none is stored. */
  revision: number;
  isChanged: boolean;
  saving: Promise<void> | undefined;
  /** When it was last known to be stored, by the monotonic clock. */
  storedMs: number;
}

/** What {@link Records} needs. */
export interface RecordsParts {
  readonly jsm: JetStreamManager;
  readonly lease: Pick<Lease, "isHeld">;
  readonly log: Log;
  /** Names of the receivers. */
  readonly receivers: readonly string[];
  /** The time of day, ms since the epoch. */
  readonly nowMs: () => number;
}

/** See the module. */
export class Records {
  readonly #entries = new Map<string, Entry>();
  /** Called when a record has changed, so that there may be something to deliver. */
  onChange: () => void = () => {};

  constructor(readonly parts: RecordsParts) {}

  /** Number of incidents that are not over for every receiver. */
  get open(): number {
    return this.all().filter((record) => !isDone(record, this.parts.receivers)).length;
  }

  /** Whether nothing more fits. */
  get isFull(): boolean {
    return this.#entries.size >= MAX_INCIDENTS;
  }

  /** The records, oldest first. */
  all(): IncidentRecord[] {
    return [...this.#entries.values()].map(({ record }) => record);
  }

  /**
   * Reads what is stored, at the beginning of a term. What is in memory and not in the store, because
   * the store was made anew, is stored again, and what ALERTS says is open becomes a record. Rejects
   * while NATS does not answer.
   */
  async load(): Promise<void> {
    await this.refresh();
    for (const [id, { revision }] of this.#entries) if (revision === 0) await this.#save(id);
    for await (const { subject, data } of lastMessages(this.parts.jsm, ALERTS, "alerts.>")) {
      const alert = alertSchema.safeParse(jsonOf(data)).data;
      if (alert && isOpen(alert) && !this.isFull) await this.addAlert(subject, alert);
    }
    this.onChange();
  }

  /** Reads what is stored, while another pager delivers. Rejects while NATS does not answer. */
  async refresh(): Promise<void> {
    const nowMs = performance.now();
    const remembered = new Map(this.#entries);
    this.#entries.clear();
    try {
      for await (const [stored, revision] of this.#stored()) {
        const own = remembered.get(stored.incident_id)?.record;
        remembered.delete(stored.incident_id);
        this.#add(own === undefined ? stored : mergedRecord(stored, own), revision, nowMs);
      }
    } finally {
      for (const { record, storedMs } of remembered.values()) {
        if (nowMs - storedMs < MAX_REMEMBERED_MS) this.#add(record, 0, storedMs);
      }
    }
  }

  /** The stored records with their sequences. */
  async *#stored(): AsyncGenerator<[IncidentRecord, revision: number]> {
    const { jsm, log } = this.parts;
    const kept = keptMessages(jsm, PAGER_STATE, pagerIncidentSubject("*"));
    for await (const { subject, seq, data } of kept) {
      const record = incidentRecordSchema.safeParse(jsonOf(data)).data;
      if (record === undefined) log.warn("live.pager.unreadable", { subject, seq });
      else yield [record, seq];
    }
  }

  #add(record: IncidentRecord, revision: number, storedMs: number): void {
    if (this.parts.nowMs() - record.last.at > MAX_QUIET_MS) return;
    const entry = { record, revision, isChanged: false, saving: undefined, storedMs };
    this.#entries.set(record.incident_id, entry);
  }

  /**
   * Adds an alert that came on `subject`. Resolves once it is stored; rejects with
   * {@link RetryAfter} when this pager may not store it.
   */
  async addAlert(subject: string, alert: Alert): Promise<void> {
    const id = alert.incident_id;
    const entry = this.#entries.get(id);
    const record = withAlert(entry?.record, subject, alert);
    if (record === undefined) {
      // An alert that came again may have been stored by nobody yet.
      if (entry?.isChanged || entry?.saving) await this.#save(id);
      return;
    }
    if (entry) entry.record = record;
    else this.#add(record, 0, performance.now());
    await this.#save(id);
    this.onChange();
  }

  /** Adds what became of a message. Resolves once it is stored, or another pager delivers. */
  async addOutcome(
    id: string,
    receiver: string,
    order: number,
    outcome: DeliveryOutcome,
  ): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.record = withOutcome(entry.record, receiver, order, outcome);
    await this.#save(id).catch(() => {});
    this.onChange();
  }

  /**
   * Forgets incidents of which nothing will ever be delivered. What is done is remembered for a
   * while, because its alerts may come again.
   */
  prune(): void {
    const { nowMs, receivers } = this.parts;
    for (const [id, { record }] of this.#entries) {
      const isStale = nowMs() - record.last.at > MAX_QUIET_MS;
      const isUseless = record.page === undefined || isDone(record, receivers);
      if (isStale || (isUseless && isTooLate(record, nowMs()))) this.#entries.delete(id);
    }
  }

  /** Stores the record of `id` as it is now; changes made meanwhile are stored with it. */
  async #save(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.isChanged = true;
    while (entry.isChanged) {
      entry.saving ??= this.#store(entry).finally(() => entry.saving = undefined);
      await entry.saving;
    }
  }

  async #store(entry: Entry): Promise<void> {
    const { lease, receivers } = this.parts;
    while (entry.isChanged) {
      if (!lease.isHeld) throw new RetryAfter("another pager may deliver", RETRY_MS);
      entry.isChanged = false;
      const { record } = entry;
      const isOver = isDone(record, receivers);
      try {
        await this.#put(entry, record, isOver);
      } catch (error) {
        entry.isChanged = true;
        if (isOvertaken(error)) await this.#catchUp(entry);
        else await pause(RETRY_MS);
      }
    }
  }

  async #put(entry: Entry, record: IncidentRecord, isOver: boolean): Promise<void> {
    const { seq } = await this.parts.jsm.jetstream().publish(
      subjectOf(record),
      JSON.stringify(record),
      {
        timeout: TIMEOUT_MS,
        expect: { lastSubjectSequence: entry.revision },
        ...(isOver ? { ttl: DONE_TTL } : {}),
      },
    );
    entry.revision = seq;
    entry.storedMs = performance.now();
  }

  // After an acknowledgement that was lost, or in a store that was made anew. A pager that holds no
  // lease does not get here.
  async #catchUp(entry: Entry): Promise<void> {
    try {
      const last = await this.parts.jsm.direct.getMessage(PAGER_STATE, {
        last_by_subj: subjectOf(entry.record),
      });
      entry.revision = last?.seq ?? 0;
      const stored = last && incidentRecordSchema.safeParse(jsonOf(last.data)).data;
      if (stored) entry.record = mergedRecord(entry.record, stored);
    } catch {
      await pause(RETRY_MS);
    }
  }
}

// By a hash, because an incident id may have characters that a subject may not.
function subjectOf({ incident_id }: IncidentRecord): string {
  return pagerIncidentSubject(createHash("sha256").update(incident_id).digest("hex").slice(0, 32));
}
