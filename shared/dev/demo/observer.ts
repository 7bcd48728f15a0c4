/**
 * The state of the pipeline, read from its public interfaces.
 *
 * @module
 */
import { type JetStreamManager, jetstreamManager } from "nats/jetstream";
import { type Alert, alertSchema, isOpen } from "../../contract/alert.ts";
import { DURABLE, heartbeatStreams, QUARANTINE } from "../../contract/topology.ts";
import { sumOf } from "../servers/service_process.ts";
import type { Pipeline } from "../servers/pipeline.ts";

/** The state of the pipeline at one moment. */
export interface Snapshot {
  readonly atMs: number;
  /** Heartbeats the edge has answered 202 for. */
  readonly accepted: number;
  /** Messages in the HEARTBEATS streams, with one heartbeat or several each. */
  readonly messages: number;
  readonly lag: { readonly live: number; readonly royalty: number; readonly triage: number };
  readonly openAlerts: number;
  readonly quarantined: number;
  readonly creditedMs: number;
  readonly counted: number;
  readonly duplicates: number;
}

/** An alert as on-call received it. */
export interface HeardAlert {
  readonly heardAtMs: number;
  readonly subject: string;
  readonly alert: Alert;
}

/** Listens to alerts as on-call does and reads metrics and consumers as operators do. */
export class Observer {
  readonly alerts: HeardAlert[] = [];
  /** Messages that are no valid alert; there must be none. */
  readonly unreadable: string[] = [];

  private constructor(readonly pipeline: Pipeline, readonly jsm: JetStreamManager) {}

  static async start(pipeline: Pipeline): Promise<Observer> {
    const oncall = await pipeline.connect("oncall");
    const observer = new Observer(
      pipeline,
      await jetstreamManager(await pipeline.connect("ops")),
    );
    oncall.subscribe("alerts.>", {
      callback: (_error, message) => observer.#hear(message.subject, message.string()),
    });
    await oncall.flush();
    return observer;
  }

  /** Incidents that are open now, newest state of each. */
  openIncidents(): HeardAlert[] {
    const latest = new Map(this.alerts.map((heard) => [heard.alert.incident_id, heard]));
    return [...latest.values()].filter(({ alert }) => isOpen(alert));
  }

  async snapshot(): Promise<Snapshot> {
    const { services, settings } = this.pipeline;
    const streams = heartbeatStreams(Number(settings.TWOFOLD_PARTITIONS ?? 1));
    const [ingest, royalty, live, royaltyLag, triage, messages, quarantine] = await Promise.all([
      services.ingest.metrics(),
      services.royalty.metrics(),
      this.#lag(streams, DURABLE.live),
      this.#lag(streams, DURABLE.royalty),
      this.#lag([QUARANTINE], DURABLE.triage),
      this.#messages(streams),
      this.#messages([QUARANTINE]),
    ]);
    const royaltyEvents = (outcome: string) =>
      sumOf(royalty, "twofold_royalty_books_events", { outcome });
    return {
      atMs: Date.now(),
      accepted: sumOf(ingest, "twofold_ingest_events_total", { outcome: "accepted" }),
      messages,
      lag: { live, royalty: royaltyLag, triage },
      openAlerts: this.openIncidents().length,
      quarantined: quarantine,
      creditedMs: Math.round(sumOf(royalty, "twofold_royalty_books_credited_seconds") * 1_000),
      counted: royaltyEvents("counted"),
      duplicates: royaltyEvents("duplicate"),
    };
  }

  async #lag(streams: readonly string[], durable: string): Promise<number> {
    const infos = await Promise.all(streams.map((name) => this.jsm.consumers.info(name, durable)));
    return infos.reduce((sum, info) => sum + info.num_pending + info.num_ack_pending, 0);
  }

  async #messages(streams: readonly string[]): Promise<number> {
    const infos = await Promise.all(streams.map((name) => this.jsm.streams.info(name)));
    return infos.reduce((sum, info) => sum + info.state.last_seq, 0);
  }

  #hear(subject: string, text: string): void {
    try {
      const alert = alertSchema.parse(JSON.parse(text));
      this.alerts.push({ heardAtMs: Date.now(), subject, alert });
    } catch {
      this.unreadable.push(`${subject}: ${text.slice(0, 200)}`);
    }
  }
}
