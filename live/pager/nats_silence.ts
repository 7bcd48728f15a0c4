/**
 * Pages when NATS cannot be reached, or stores nothing: nobody can publish that on `alerts.>`. Without
 * NATS no service is heard and no heartbeat arrives; with a full disk under it, no alert is kept.
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

/** Time without an answer to a write, or without a connection, until the page; in ms. */
const SILENT_AFTER_MS = 15_000;
const SECONDS = SILENT_AFTER_MS / 1_000;
const CHECK_MS = 1_000;
const MAX_FROZEN_MS = 3_000;

/** What {@link NatsSilence} needs. */
export interface NatsSilenceParts {
  /** The holder of the lease, as far as it is known. */
  readonly holder: () => string;
  /** When the stream of the lease last answered a write, by the monotonic clock, in ms. */
  readonly answeredMs: () => number;
  /** The time of day, ms since the epoch. */
  readonly nowMs: () => number;
  /** Called when there may be something to deliver. */
  readonly onChange: () => void;
}

/** The incidents that no stream can keep; for couriers of their own. */
export class NatsSilence {
  readonly #silent: OwnIncident;
  readonly #storesNothing: OwnIncident;
  #checkedMs = performance.now();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isConnected = true;
  /** When the last write that is known was answered, and for how long none was since, in ms. */
  #answeredMs = 0;
  #unansweredMs = 0;

  constructor(readonly parts: NatsSilenceParts) {
    this.#silent = new OwnIncident("nats-silent", parts);
    this.#storesNothing = new OwnIncident("nats-stores-nothing", parts);
  }

  /** Follows the connection until it is closed. */
  async follow(nc: Pick<NatsConnection, "status">): Promise<void> {
    const checking = setInterval(() => this.#check(), CHECK_MS);
    for await (const { type } of nc.status()) {
      if (type === "disconnect") {
        this.#isConnected = false;
        this.#timer ??= setTimeout(() => this.#silent.open(SILENT), this.#patienceMs());
      } else if (type === "reconnect") {
        this.#isConnected = true;
        clearTimeout(this.#timer);
        this.#timer = undefined;
        this.#silent.end("NATS can be reached again");
      }
    }
    clearTimeout(this.#timer);
    clearInterval(checking);
  }

  /** The incidents that there are or were. */
  all(): IncidentRecord[] {
    return [this.#silent, this.#storesNothing].flatMap(({ record }) => record ?? []);
  }

  /** Adds what became of a message. */
  addOutcome(id: string, receiver: string, order: number, outcome: DeliveryOutcome) {
    for (const own of [this.#silent, this.#storesNothing]) {
      if (own.record?.incident_id === id) {
        own.record = withOutcome(own.record, receiver, order, outcome);
      }
    }
    return Promise.resolve();
  }

  // A server that hangs is left only after it has answered nothing for some time: that counts, unless
  // it was paged already.
  #patienceMs(): number {
    return SILENT_AFTER_MS - (this.#unansweredMs < SILENT_AFTER_MS ? this.#unansweredMs : 0);
  }

  #check(): void {
    const nowMs = performance.now();
    const sinceMs = nowMs - this.#checkedMs;
    this.#checkedMs = nowMs;
    const answeredMs = this.parts.answeredMs();
    if (answeredMs > this.#answeredMs) {
      this.#answeredMs = answeredMs;
      this.#unansweredMs = 0;
      this.#storesNothing.end("NATS stores messages again");
      return;
    }
    // Without a connection, and while this process was frozen, it asked nothing. A connection that
    // is opened anew, because its server stores nothing, begins nothing anew.
    if (!this.#isConnected || sinceMs > MAX_FROZEN_MS) return;
    this.#unansweredMs += sinceMs;
    if (this.#unansweredMs >= SILENT_AFTER_MS) this.#storesNothing.open(STORES_NOTHING);
  }
}

const SILENT =
  `NATS cannot be reached from the pager for ${SECONDS} s: no alert, no pulse and no ` +
  "heartbeat arrives";
const STORES_NOTHING =
  `NATS is connected, but has stored nothing in KV_PAGER for ${SECONDS} s, so alerts ` +
  "are not kept either. If its disk is full: make space, then restart nats-server, which stores " +
  "nothing until then; else see nats stream report KV_PAGER for its nodes";

/** An incident that this process keeps itself. */
class OwnIncident {
  record: IncidentRecord | undefined;

  constructor(readonly what: string, readonly parts: NatsSilenceParts) {}

  /** Opens it, unless it is open. */
  open(summary: string): void {
    if (this.record && isOpen(this.record.last)) return;
    const at = Math.round(this.parts.nowMs());
    const incident_id = `${this.what}.${this.parts.holder()}`;
    this.record = undefined;
    this.#add({ ...this.#common(at, at), incident_id, status: "open", summary });
  }

  /** Ends it, if it is open. */
  end(summary: string): void {
    const last = this.record?.last;
    if (last === undefined || !isOpen(last)) return;
    const at = Math.round(this.parts.nowMs());
    const { incident_id, opened_at } = last;
    this.#add({ ...this.#common(opened_at, at), incident_id, status: "resolved", summary });
  }

  #common(opened_at: number, at: number) {
    return { v: 1, kind: "pipeline", severity: "page", what: this.what, opened_at, at } as const;
  }

  #add(alert: Alert): void {
    this.record = withAlert(this.record, alertSubject.pipeline(this.what), alert) ?? this.record;
    this.parts.onChange();
  }
}
