/**
 * Alerts on their way to ALERTS, published in order until each is acknowledged.
 *
 * A publish whose outcome is unknown is repeated with the same message id (`<incident_id>.<status>`),
 * which the stream absorbs; beyond its duplicate window on-call sees the same id and status again.
 *
 * @module
 */
import type { JetStreamClient } from "nats/jetstream";
import { pause } from "../../shared/process/retry.ts";
import type { Log } from "../../shared/process/log.ts";
import { type OwnAlert, subjectOf } from "./incidents.ts";

const CONCURRENCY = 64;

const RETRY_MS = 250;

/** Publishes alerts in order until JetStream has acknowledged each. */
export class Outbox {
  readonly #waiting: OwnAlert[] = [];
  #sending: Promise<void> | undefined;

  constructor(
    readonly js: JetStreamClient,
    readonly capacity: number,
    readonly log: Log,
    /** Told of each alert once it is acknowledged. */
    readonly published: (alert: OwnAlert) => void,
  ) {}

  /** No room: decide nothing now, because it could not be said. */
  get full(): boolean {
    return this.#waiting.length >= this.capacity;
  }

  /** Publishes `alert` after those before it. */
  add(alert: OwnAlert): void {
    this.#waiting.push(alert);
    this.#sending ??= this.#send();
  }

  /** Resolves once nothing waits. */
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

  // Together, but no two of one subject: a resolve must not overtake its open.
  #nextBatch(): OwnAlert[] {
    const subjects = new Set<string>();
    const batch: OwnAlert[] = [];
    for (const alert of this.#waiting.slice(0, CONCURRENCY)) {
      const subject = subjectOf(alert);
      if (subjects.has(subject)) break;
      subjects.add(subject);
      batch.push(alert);
    }
    return batch;
  }

  async #publish(alert: OwnAlert): Promise<void> {
    const msgID = `${alert.incident_id}.${alert.status}`;
    for (;;) {
      try {
        await this.js.publish(subjectOf(alert), JSON.stringify(alert), { msgID, timeout: 2_000 });
        return this.published(alert);
      } catch (error) {
        this.log.warn("live.alerts.retry", { message_id: msgID, error });
        await pause(RETRY_MS);
      }
    }
  }
}
