/**
 * Measures the quarantine, decides with `limits.ts`, and tells on-call through an outbox.
 *
 * An alert is decided in Postgres before it is sent and leaves the outbox after JetStream has it, so
 * that a crash between the two repeats the message instead of losing it. ALERTS keeps it once, by its
 * message id; a plain subscriber may hear it twice, with the same incident and status.
 *
 * @module
 */
import type { JetStreamClient } from "nats/jetstream";
import { quarantineAlertSchema } from "../shared/contract/alert.ts";
import { messageOf, RetryAfter } from "../shared/process/errors.ts";
import { alertSubject } from "../shared/contract/topology.ts";
import { alertOf, type Incident, type Limit, step } from "./limits.ts";
import type { Outgoing, Pressure, Quarantine } from "./quarantine.ts";

const encoder = new TextEncoder();

export interface AlarmOptions {
  /** At most one per measure. */
  readonly limits: readonly Limit[];
  readonly depthWindowMs: number;
}

/** What an evaluation found. */
export interface Evaluation {
  readonly pressure: Pressure;
  readonly openAlerts: number;
}

/** The limits' keeper. */
export class Alarm {
  constructor(
    readonly store: Quarantine,
    readonly js: Pick<JetStreamClient, "publish">,
    readonly options: AlarmOptions,
  ) {}

  /**
   * Compares the quarantine at `now` (ms) with the limits, opens or resolves alerts, and sends what
   * is unsent. Rejects with {@link RetryAfter} while Postgres or JetStream cannot be used.
   */
  async evaluate(now: number): Promise<Evaluation> {
    const { depthWindowMs, limits } = this.options;
    const pressure = await this.store.pressure(now, depthWindowMs);
    const open = await this.store.openIncidents();
    for (const limit of limits) {
      const value = limit.measure === "depth" ? pressure.depth : pressure.growthPerMinute;
      const incident = open.find(({ measure }) => measure === limit.measure);
      const next = step(limit, incident !== undefined, value);
      if (next === "open") await this.#open(limit, value, now);
      if (next === "resolve" && incident) await this.#resolve(incident, limit, value, now);
    }
    await this.store.forgetTally(now - depthWindowMs - 60_000);
    await this.#send();
    return { pressure, openAlerts: (await this.store.openIncidents()).length };
  }

  async #open(limit: Limit, value: number, now: number): Promise<void> {
    const incidentId = crypto.randomUUID();
    const incident = { incidentId, measure: limit.measure, openedAt: now };
    const worst = await this.store.worst(now);
    await this.store.open(
      incident,
      outgoing(alertOf(incident, "open", limit, value, now, worst)),
    );
  }

  async #resolve(incident: Incident, limit: Limit, value: number, now: number): Promise<void> {
    const alert = alertOf(incident, "resolved", limit, value, now);
    await this.store.resolve(incident, now, outgoing(alert));
  }

  async #send(): Promise<void> {
    for (const { messageId, subject, alert } of await this.store.outbox()) {
      try {
        const payload = encoder.encode(JSON.stringify(alert));
        await this.js.publish(subject, payload, { msgID: messageId });
      } catch (error) {
        throw new RetryAfter(`ALERTS: ${messageOf(error)}`, 1_000, { cause: error });
      }
      await this.store.sent(messageId);
    }
  }
}

function outgoing(draft: Outgoing["alert"]): Outgoing {
  const alert = quarantineAlertSchema.parse(draft);
  return {
    messageId: `${alert.incident_id}.${alert.status}`,
    subject: alertSubject.quarantine(alert.reason),
    alert,
  };
}
