/**
 * Publishes alerts to ALERTS in order, and retries each until it is acknowledged.
 *
 * A publish with an unknown outcome is repeated with the same message id (`<incident_id>.<update>`),
 * which the stream deduplicates; after its duplicate window, on-call receives the same id and
 * update again.
 *
 * @module
 */
import type { JetStreamClient } from "nats/jetstream";
import { pause } from "../../shared/process/retry.ts";
import type { Log } from "../../shared/process/log.ts";
import { type LiveAlert, messageIdOf, subjectOf } from "./incidents.ts";
import { safeJson } from "./wording.ts";

const MAX_CONCURRENT_ALERTS = 64;
const RETRY_MS = 250;

/** Publishes alerts in order until JetStream has acknowledged each. */
export class Outbox {
  readonly #waiting: LiveAlert[] = [];
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
      this.#waiting.splice(0, batch.length);
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
    for (;;) {
      try {
        await this.js.publish(subjectOf(alert), safeJson(alert), { msgID, timeout: 2_000 });
        return this.onPublished(alert);
      } catch (error) {
        this.log.warn("live.alerts.retry", { message_id: msgID, error });
        await pause(RETRY_MS);
      }
    }
  }
}
