/**
 * Pages when NATS cannot be reached: nobody can publish that on `alerts.>`, and without NATS no
 * service is heard and no heartbeat arrives.
 *
 * Every pager does so, without the lease, which is in NATS; they use one key, the holder of the
 * lease that they knew. What a receiver has got is in memory only.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { type Alert, isOpen } from "../../shared/contract/alert.ts";
import { alertSubject } from "../../shared/contract/topology.ts";
import {
  type DeliveryOutcome,
  type IncidentRecord,
  withAlert,
  withOutcome,
} from "./incident_record.ts";

/** Time without a connection after which NATS is silent, in ms; longer than a restart takes. */
const SILENT_AFTER_MS = 15_000;
const WHAT = "nats-silent";

/** What {@link NatsSilence} needs. */
export interface NatsSilenceParts {
  /** The holder of the lease, as far as it is known. */
  readonly holder: () => string;
  /** The time of day, ms since the epoch. */
  readonly nowMs: () => number;
  /** Called when there may be something to deliver. */
  readonly onChange: () => void;
}

/** The one incident that no stream can keep; for couriers of its own. */
export class NatsSilence {
  #record: IncidentRecord | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly parts: NatsSilenceParts) {}

  /** Follows the connection until it is closed. */
  async follow(nc: Pick<NatsConnection, "status">): Promise<void> {
    for await (const { type } of nc.status()) {
      if (type === "disconnect") this.#timer ??= setTimeout(() => this.#open(), SILENT_AFTER_MS);
      else if (type === "reconnect") this.#end();
    }
    clearTimeout(this.#timer);
  }

  /** The incident, if there is or was one. */
  all(): IncidentRecord[] {
    return this.#record ? [this.#record] : [];
  }

  /** Adds what became of a message. */
  addOutcome(_id: string, receiver: string, order: number, outcome: DeliveryOutcome) {
    if (this.#record) this.#record = withOutcome(this.#record, receiver, order, outcome);
    return Promise.resolve();
  }

  #open(): void {
    const at = Math.round(this.parts.nowMs());
    const seconds = SILENT_AFTER_MS / 1_000;
    const summary = `NATS cannot be reached from the pager for ${seconds} s: no alert, no pulse ` +
      "and no heartbeat arrives";
    const incident_id = `${WHAT}.${this.parts.holder()}`;
    this.#record = undefined;
    this.#add({ ...common(at, at), incident_id, status: "open", summary });
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const open = this.#record?.last;
    if (open === undefined || !isOpen(open)) return;
    const at = Math.round(this.parts.nowMs());
    const { incident_id, opened_at } = open;
    const summary = "NATS can be reached again";
    this.#add({ ...common(opened_at, at), incident_id, status: "resolved", summary });
  }

  #add(alert: Alert): void {
    this.#record = withAlert(this.#record, alertSubject.pipeline(WHAT), alert) ?? this.#record;
    this.parts.onChange();
  }
}

function common(opened_at: number, at: number) {
  return { v: 1, kind: "pipeline", severity: "page", what: WHAT, opened_at, at } as const;
}
