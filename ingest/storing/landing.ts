/**
 * Stores batches in JetStream: by fast ingest, or by single publishes where a stream does not allow
 * batches.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import {
  jetstream,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstreamManager,
} from "nats/jetstream";
import { messageOf, RetryAfter } from "../../shared/process/errors.ts";
import type { Log } from "../../shared/process/log.ts";
import { natsMessageOf } from "../../shared/process/nats.ts";
import type { RoutedEvent } from "../admit.ts";
import { FastIngest } from "./fast_ingest.ts";
import type { Landing } from "./publisher.ts";

/** Below this, single publishes take fewer round trips than a batch. */
const MIN_FAST_EVENTS = 4;
/** JetStream error code "batch publish is disabled": no fast ingest on this stream or server. */
const BATCH_DISABLED_CODE = 10205;
/** JetStream error code "too many requests": the queue of the stream is full. */
const BUSY_CODE = 10167;
/** Round trips that are remembered; the shortest is the one without load. */
const ROUND_TRIPS = 3;

/** Time before a retry, by the cause of the failure, in ms. */
const RETRY_AFTER_MS = {
  timeout: 100,
  busy: 250,
  disconnected: 2_000,
  other: 1_000,
  apiError: 10_000,
} as const;

interface Lane {
  readonly stream: string;
  way: "fast" | "plain";
  /** Why the stream cannot store events, according to the last probe; undefined when it can. */
  problem: string | undefined;
}

/** Stores events in the HEARTBEATS streams over one connection. */
export class JetStreamLanding implements Landing {
  readonly #js: JetStreamClient;
  readonly #fast: FastIngest;
  readonly #lanes: readonly Lane[];
  /** Rejects each publish in flight when the connection is lost. */
  readonly #rejectPending = new Set<(reason: RetryAfter) => void>();
  #connected = true;
  /** The last ones, ms. */
  readonly #roundTripsMs: number[] = [];

  private constructor(
    readonly nc: NatsConnection,
    readonly jsm: JetStreamManager,
    inboxPrefix: string,
    streams: readonly string[],
    readonly log: Log,
  ) {
    this.#js = jetstream(nc);
    this.#fast = new FastIngest(nc, inboxPrefix);
    this.#lanes = streams.map((stream) => ({ stream, way: "fast", problem: "not probed yet" }));
    void this.#followConnection();
  }

  /**
   * Creates the landing and probes each stream once. `streams` is indexed by partition. A stream
   * that does not answer only makes it not ready; see {@link notReady}.
   */
  static async open(
    nc: NatsConnection,
    inboxPrefix: string,
    streams: readonly string[],
    log: Log,
  ): Promise<JetStreamLanding> {
    const jsm = await jetstreamManager(nc, { checkAPI: false });
    const landing = new JetStreamLanding(nc, jsm, inboxPrefix, streams, log);
    await Promise.all([landing.probe(), landing.measure()]);
    return landing;
  }

  /** Why events cannot be stored now, or undefined when they can. */
  notReady(): string | undefined {
    if (!this.#connected) return "NATS is disconnected";
    const lane = this.#lanes.find(({ problem }) => problem !== undefined);
    return lane && `${lane.stream}: ${lane.problem}`;
  }

  /** The round trip to the server without load, ms; 0 before it is measured. */
  get roundTripMs(): number {
    return this.#roundTripsMs.length === 0 ? 0 : Math.min(...this.#roundTripsMs);
  }

  /** Measures the round trip. Resolves when the connection is lost, too. Never throws. */
  async measure(): Promise<void> {
    try {
      this.#roundTripsMs.push(await this.nc.rtt());
      if (this.#roundTripsMs.length > ROUND_TRIPS) this.#roundTripsMs.shift();
    } catch {
      // There is no connection, and so no link to measure.
    }
  }

  /** Checks that every stream exists and whether it allows batches. Never throws. */
  async probe(): Promise<void> {
    await Promise.all(this.#lanes.map(async (lane) => {
      try {
        const { config } = await this.jsm.streams.info(lane.stream);
        const { allow_batched } = config as { allow_batched?: boolean };
        this.#choose(lane, allow_batched ? "fast" : "plain");
        lane.problem = undefined;
      } catch (error) {
        lane.problem = natsMessageOf(error);
      }
    }));
  }

  /**
   * Stores `events` in the stream of `partition`. Resolves once all are acknowledged; rejects with
   * {@link RetryAfter} otherwise, when some of them may be stored.
   *
   * @throws {RangeError} When no stream has this partition.
   */
  async land(
    partition: number,
    events: readonly RoutedEvent[],
    timeoutMs: number,
  ): Promise<void> {
    if (!this.#connected) throw disconnected();
    const lane = this.#lanes[partition];
    if (lane === undefined) throw new RangeError(`partition ${partition} has no stream`);
    const isFast = lane.way === "fast" && events.length >= MIN_FAST_EVENTS;
    try {
      await this.#rejectOnDisconnect(
        isFast ? this.#fast.land(events, timeoutMs) : this.#landPlain(events, timeoutMs),
      );
    } catch (error) {
      if (isFast && isBatchDisabled(error)) {
        this.#choose(lane, "plain");
        return await this.land(partition, events, timeoutMs);
      }
      throw toRetryAfter(error, lane.stream);
    }
  }

  async #landPlain(events: readonly RoutedEvent[], timeoutMs: number): Promise<void> {
    const results = await Promise.allSettled(
      events.map(({ subject, bytes, msgId }) =>
        this.#js.publish(subject, bytes, { msgID: msgId, timeout: timeoutMs })
      ),
    );
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  // The client waits for its timeout even when disconnected; the device should get 503 at once.
  #rejectOnDisconnect(work: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#rejectPending.add(reject);
      work.then(resolve, reject).finally(() => this.#rejectPending.delete(reject));
    });
  }

  async #followConnection(): Promise<void> {
    for await (const { type } of this.nc.status()) {
      if (type === "disconnect") {
        this.#connected = false;
        for (const reject of this.#rejectPending) reject(disconnected());
      } else if (type === "reconnect") {
        this.#connected = true;
        void this.probe();
      }
    }
  }

  #choose(lane: Lane, way: Lane["way"]): void {
    if (lane.way === way) return;
    lane.way = way;
    this.log.warn("ingest.landing.way_changed", { stream: lane.stream, way });
  }
}

function isBatchDisabled(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === BATCH_DISABLED_CODE;
}

// An API error (stream full, out of resources) lasts longer than a request; a timeout may not.
function toRetryAfter(error: unknown, stream: string): RetryAfter {
  if (error instanceof RetryAfter) return error;
  const message = `${stream}: ${messageOf(error)}`;
  if (error instanceof JetStreamApiError) {
    const retryAfterMs = error.code === BUSY_CODE ? RETRY_AFTER_MS.busy : RETRY_AFTER_MS.apiError;
    return new RetryAfter(message, retryAfterMs, { cause: error });
  }
  const isTimeout = error instanceof Error && error.name === "TimeoutError";
  return new RetryAfter(message, isTimeout ? RETRY_AFTER_MS.timeout : RETRY_AFTER_MS.other, {
    cause: error,
  });
}

function disconnected(): RetryAfter {
  return new RetryAfter("NATS is disconnected", RETRY_AFTER_MS.disconnected);
}
