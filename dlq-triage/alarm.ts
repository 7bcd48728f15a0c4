/**
 * Measures the quarantine, decides about alerts with `limits.ts`, and publishes them through an
 * outbox.
 *
 * A decision is committed to Postgres before its alert is published, and the alert is removed from
 * the outbox after JetStream has acknowledged it. A crash in between repeats the message instead of
 * losing it. ALERTS deduplicates it by message id; a plain subscriber may receive it twice, with
 * the same incident and status.
 *
 * @module
 */
import type { JetStreamClient } from "nats/jetstream";
import { type QuarantineAlert, quarantineAlertSchema } from "../shared/contract/alert.ts";
import { messageOf, RetryAfter } from "../shared/process/errors.ts";
import { alertSubject } from "../shared/contract/topology.ts";
import { actionOn, alertOf, type Incident, type Limit } from "./limits.ts";
import type { Measurements, OutboxMessage, Quarantine } from "./quarantine.ts";

const encoder = new TextEncoder();

/** Options of {@link Alarm}. */
export interface AlarmOptions {
  /** At most one limit per measure. */
  readonly limits: readonly Limit[];
  /** How far back the depth counts entries, in ms. */
  readonly depthWindowMs: number;
}

/** The result of an evaluation. */
export interface Evaluation {
  readonly measured: Measurements;
  /** Open alerts after the evaluation. */
  readonly openAlerts: number;
}

/** Compares the quarantine with its limits and publishes alerts. */
export class Alarm {
  constructor(
    readonly store: Quarantine,
    readonly js: Pick<JetStreamClient, "publish">,
    readonly options: AlarmOptions,
  ) {}

  /**
   * Compares the quarantine at `nowMs` (since the epoch) with the limits, opens or resolves alerts,
   * and publishes the outbox. Rejects with {@link RetryAfter} while Postgres or JetStream cannot be
   * used.
   */
  async evaluate(nowMs: number): Promise<Evaluation> {
    const { depthWindowMs, limits } = this.options;
    const measured = await this.store.measure(nowMs, depthWindowMs);
    const open = await this.store.openIncidents();
    for (const limit of limits) {
      const value = limit.measure === "depth" ? measured.depth : measured.growthPerMinute;
      const incident = open.find(({ measure }) => measure === limit.measure);
      const action = actionOn(limit, incident !== undefined, value);
      if (action === "open") await this.#open(limit, value, nowMs);
      if (action === "resolve" && incident) await this.#resolve(incident, limit, value, nowMs);
    }
    await this.store.deleteTally(nowMs - depthWindowMs - 60_000);
    await this.#publish();
    return { measured, openAlerts: (await this.store.openIncidents()).length };
  }

  async #open(limit: Limit, value: number, nowMs: number): Promise<void> {
    const incidentId = crypto.randomUUID();
    const incident = { incidentId, measure: limit.measure, openedAtMs: nowMs };
    const largest = await this.store.largestGroup(nowMs);
    await this.store.open(
      incident,
      outboxMessageOf(alertOf(incident, "open", limit, value, nowMs, largest)),
    );
  }

  async #resolve(
    incident: Incident,
    limit: Limit,
    value: number,
    nowMs: number,
  ): Promise<void> {
    const alert = alertOf(incident, "resolved", limit, value, nowMs);
    await this.store.resolve(incident, nowMs, outboxMessageOf(alert));
  }

  async #publish(): Promise<void> {
    for (const { messageId, subject, alert } of await this.store.outbox()) {
      try {
        const payload = encoder.encode(JSON.stringify(alert));
        await this.js.publish(subject, payload, { msgID: messageId });
      } catch (error) {
        throw new RetryAfter(`ALERTS: ${messageOf(error)}`, 1_000, { cause: error });
      }
      await this.store.deleteFromOutbox(messageId);
    }
  }
}

function outboxMessageOf(draft: QuarantineAlert): OutboxMessage {
  const alert = quarantineAlertSchema.parse(draft);
  return {
    messageId: `${alert.incident_id}.${alert.status}`,
    subject: alertSubject.quarantine(alert.reason),
    alert,
  };
}
