/**
 * What the board of the pager knows: it answers at any time, without NATS too, and says how old
 * what it says is.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import type { JetStreamManager } from "nats/jetstream";
import type { PulseWatch } from "../../../shared/contract/pulse_watch.ts";
import { LIVE_VIEW_SUBJECT } from "../../../shared/contract/topology.ts";
import { type LiveView, liveViewSchema } from "../../../shared/contract/view/live_view.ts";
import { jsonOf } from "../../../shared/process/kept/kept_messages.ts";
import { AlertsFollower } from "./alerts_follower.ts";
import type { IncidentList, PipelineState } from "./board_schema.ts";
import { type HeardView, incidentList, type KnownDeliveries, pipelineState } from "./board_view.ts";
import type { PagerAbout } from "./board_view.ts";
import { OpenIncidents } from "./open_incidents.ts";

const PRUNE_INTERVAL_MS = 60_000;

/** What a {@link Board} shows of its pager. */
export interface BoardParts {
  readonly watch: PulseWatch;
  readonly about: () => PagerAbout;
  /** Undefined while another pager delivers. */
  readonly deliveries: () => KnownDeliveries | undefined;
}

/** See the module. */
export class Board {
  readonly #incidents = new OpenIncidents();
  #follower: AlertsFollower | undefined;
  #parts: BoardParts | undefined;
  #heard: { readonly view: LiveView; readonly heardMs: number } | undefined;

  /** @param nowMs The time of day, ms since the epoch. */
  constructor(readonly nowMs: () => number) {}

  /** Begins to follow ALERTS and live, until `signal` is aborted. */
  follow(nc: NatsConnection, jsm: JetStreamManager, signal: AbortSignal): void {
    this.#follower = new AlertsFollower(jsm, this.#incidents);
    void this.#follower.run(signal);
    nc.subscribe(LIVE_VIEW_SUBJECT, {
      callback: (error, message) => {
        const view = error ? undefined : liveViewSchema.safeParse(jsonOf(message.data)).data;
        if (view !== undefined) this.#hear(view);
      },
    });
    const pruning = setInterval(() => this.#incidents.prune(this.nowMs()), PRUNE_INTERVAL_MS);
    signal.addEventListener("abort", () => clearInterval(pruning), { once: true });
  }

  /** From now on it shows `parts`, too. */
  show(parts: BoardParts): void {
    this.#parts = parts;
  }

  /** The response to `GET /v1/incidents`. */
  get list(): IncidentList {
    return incidentList({
      nowMs: this.nowMs(),
      readAgeMs: this.#follower?.readAgeMs,
      incidents: this.#incidents,
      heard: this.#view,
      deliveries: this.#parts?.deliveries(),
    });
  }

  /** The response to `GET /v1/state`. */
  get state(): PipelineState {
    return pipelineState({
      nowMs: this.nowMs(),
      readAgeMs: this.#follower?.readAgeMs,
      problem: this.#follower ? this.#follower.problem : "NATS is not connected yet",
      pager: this.#parts?.about(),
      heard: this.#view,
      services: this.#parts?.watch.states(performance.now()) ?? [],
    });
  }

  get #view(): HeardView | undefined {
    const heard = this.#heard;
    return heard && { view: heard.view, ageMs: performance.now() - heard.heardMs };
  }

  #hear(view: LiveView): void {
    this.#heard = { view, heardMs: performance.now() };
    this.#incidents.view(view, this.nowMs());
  }
}
