/**
 * Publishes alerts to ALERTS in order, and retries each until it is acknowledged.
 *
 * A publish with an unknown outcome is repeated with the same message id (`<incident_id>.<update>`),
 * which the stream deduplicates; after its duplicate window, on-call receives the same id and
 * update again.
 *
 * Each alert says which message it expects to be the last of its subject. When another process has
 * told something in between, because both believed that they lead, the stream refuses the alert:
 * what this process would have told is dropped, and {@link Outbox.isOvertaken} asks to learn what
 * was told. So however many processes believe that they lead, an incident has one history.
 *
 * @module
 */
import type { JetStreamClient } from "nats/jetstream";
import { isOvertaken } from "../../shared/process/lease/lease.ts";
import { pause } from "../../shared/process/retry.ts";
import type { Log } from "../../shared/process/log.ts";
import { type LiveAlert, messageIdOf, subjectOf } from "./incidents.ts";
import { safeJson } from "../../shared/process/cli/json_output.ts";

const MAX_CONCURRENT_ALERTS = 64;
const RETRY_MS = 250;

/** Publishes alerts in order until JetStream has acknowledged each. */
export class Outbox {
  /** Another process has told something; until {@link begin} nothing is published. */
  isOvertaken = false;
  readonly #waiting: LiveAlert[] = [];
  #lastSequences = new Map<string, number>();
  #sending: Promise<void> | undefined;

  constructor(
    readonly js: JetStreamClient,
    readonly capacity: number,
    readonly log: Log,
    /** Called with each alert once it is acknowledged. */
    readonly onPublished: (alert: LiveAlert) => void,
  ) {}

  /** Whether `capacity` alerts wait; then nothing more should be decided. */
  get full(): boolean {
    return this.#waiting.length >= this.capacity;
  }

  /** Begins to publish, after messages with `lastSequences`, the last of each subject. */
  begin(lastSequences: Map<string, number>): void {
    this.#lastSequences = lastSequences;
    this.isOvertaken = false;
  }

  /** Drops what waits: another process tells what is so. */
  drop(): void {
    this.#waiting.length = 0;
  }

  /** Queues `alert` behind earlier ones. */
  add(alert: LiveAlert): void {
    this.#waiting.push(alert);
    this.#sending ??= this.#send();
  }

  /** Resolves once no alert waits. */
  async flush(): Promise<void> {
    await this.#sending;
  }

  async #send(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#nextBatch();
      await Promise.all(batch.map((alert) => this.#publish(alert)));
      if (this.isOvertaken) this.drop();
      for (const alert of batch) if (this.#waiting[0] === alert) this.#waiting.shift();
    }
    this.#sending = undefined;
  }

  // At most one alert per subject, because a resolve must not overtake its open.
  #nextBatch(): LiveAlert[] {
    const subjects = new Set<string>();
    const batch: LiveAlert[] = [];
    for (const alert of this.#waiting.slice(0, MAX_CONCURRENT_ALERTS)) {
      const subject = subjectOf(alert);
      if (subjects.has(subject)) break;
      subjects.add(subject);
      batch.push(alert);
    }
    return batch;
  }

  async #publish(alert: LiveAlert): Promise<void> {
    const msgID = messageIdOf(alert);
    const subject = subjectOf(alert);
    // It was dropped when it no longer waits.
    while (this.#waiting.includes(alert) && !this.isOvertaken) {
      try {
        const { seq } = await this.js.publish(subject, safeJson(alert), {
          msgID,
          expect: { lastSubjectSequence: this.#lastSequences.get(subject) ?? 0 },
          timeout: 2_000,
        });
        this.#lastSequences.set(subject, seq);
        return this.onPublished(alert);
      } catch (error) {
        if (isOvertaken(error)) {
          this.log.warn("live.alerts.overtaken", { message_id: msgID });
          this.isOvertaken = true;
          return;
        }
        this.log.warn("live.alerts.retry", { message_id: msgID, error });
        await pause(RETRY_MS);
      }
    }
  }
}
