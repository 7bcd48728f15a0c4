/**
 * Leaves a NATS server that stores nothing: one that is cut off from its cluster, whose link is
 * half-open, or that hangs.
 *
 * Nothing on the connection shows that: pings are answered, and so are questions about streams, with
 * old answers. Only the acknowledgement of a message that is stored by a majority does. So each
 * connection publishes one every {@link PROBE_MS}, and is opened anew to another server of its list
 * when none was acknowledged for {@link LEAVE_AFTER_MS}. While no server acknowledges, it waits twice
 * as long before each next one.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstream, type JetStreamClient } from "nats/jetstream";
import { messageOf } from "../errors.ts";
import type { Log } from "../log.ts";
import { pause } from "../retry.ts";

/** Interval between two probes, in ms. */
export const PROBE_MS = 1_000;
/** Time without an acknowledgement after which a connection leaves its server, in ms. */
export const LEAVE_AFTER_MS = 6_000;
const MAX_LEAVE_AFTER_MS = 60_000;
/** On a slow link an acknowledgement may be late; then the server is not cut off. */
const PROBE_TIMEOUT_MS = 5_000;

/** The subject that `user` publishes its probes on; the stream PROBES keeps the last of each. */
export function probeSubject(user: string): string {
  return `probe.${user}`;
}

/** What a {@link NodeWatch} works on. */
export interface NodeWatchOptions {
  readonly nc: NatsConnection;
  /** The user of the connection. */
  readonly user: string;
  /** How many servers its list has. */
  readonly servers: number;
  /** Opens the connection anew, to another server if there is one. */
  readonly leave: () => Promise<void>;
  readonly log: Log;
}

/** Watches the server of one connection. */
export class NodeWatch {
  readonly #js: JetStreamClient;
  /** When the newest acknowledged probe was answered, or this server was connected. */
  #goodMs = performance.now();
  #tookMs = 0;
  #isConnected = true;
  /** Servers left since one acknowledged. */
  #left = 0;
  #error: unknown;

  constructor(readonly options: NodeWatchOptions) {
    this.#js = jetstream(options.nc);
  }

  /** Time that the last probe took, or that none has been acknowledged for, if that is longer; ms. */
  get roundTripMs(): number {
    return Math.max(this.#tookMs, performance.now() - this.#goodMs - PROBE_MS);
  }

  /** Probes until `signal` is aborted or the connection is closed. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { nc } = this.options;
    void this.#follow();
    while (!signal.aborted && !nc.isClosed()) {
      if (this.#isConnected) {
        void this.#probe();
        await this.#judge();
      }
      await pause(PROBE_MS, signal);
    }
  }

  async #probe(): Promise<void> {
    const { nc, user } = this.options;
    const sentMs = performance.now();
    try {
      await this.#js.publish(probeSubject(user), nc.getServer(), { timeout: PROBE_TIMEOUT_MS });
      this.#goodMs = performance.now();
      this.#tookMs = this.#goodMs - sentMs;
      this.#left = 0;
    } catch (error) {
      this.#error = error;
    }
  }

  async #judge(): Promise<void> {
    const { nc, servers, leave, log } = this.options;
    const silentMs = performance.now() - this.#goodMs;
    const leaveAfterMs = LEAVE_AFTER_MS * 2 ** Math.floor(this.#left / servers);
    // It is judged once in PROBE_MS: at the nearest time.
    if (silentMs < Math.min(leaveAfterMs, MAX_LEAVE_AFTER_MS) - PROBE_MS / 2) return;
    this.#left += 1;
    this.#goodMs = performance.now();
    log.warn("nats.server_left", {
      server: nc.getServer(),
      silent_ms: Math.round(silentMs),
      error: this.#error === undefined ? "no answer" : messageOf(this.#error),
    });
    await leave().catch((error) => log.warn("nats.error", { error: messageOf(error) }));
  }

  async #follow(): Promise<void> {
    for await (const { type } of this.options.nc.status()) {
      if (type === "disconnect") this.#isConnected = false;
      if (type !== "reconnect") continue;
      this.#isConnected = true;
      this.#goodMs = performance.now();
    }
  }
}
