/**
 * Lands batches on JetStream: by fast ingest, or by plain publishes where that is not to be had.
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
import { messageOf, RetryAfter } from "../shared/process/errors.ts";
import type { Log } from "../shared/process/log.ts";
import type { RoutedEvent } from "./admit.ts";
import { FastIngest } from "./fast_ingest.ts";
import type { Landing } from "./publisher.ts";

/** Fewer events than this take fewer round trips when published one by one. */
const FAST_FROM_EVENTS = 4;
/** "batch publish is disabled": the stream or the server does not do fast ingest. */
const BATCH_DISABLED = 10205;

/** What a device or a retry waits, by cause, in ms. */
const WAIT_MS = { unknown: 100, disconnected: 2_000, unanswered: 1_000, refused: 10_000 } as const;

interface Lane {
  readonly stream: string;
  way: "fast" | "plain";
  /** Why the stream cannot take events, as far as the last probe knows. */
  problem: string | undefined;
}

/** The HEARTBEATS streams behind one connection; `streams` by partition. */
export class JetStreamLanding implements Landing {
  readonly #js: JetStreamClient;
  readonly #fast: FastIngest;
  readonly #lanes: readonly Lane[];
  readonly #givingUp = new Set<(reason: RetryAfter) => void>();
  #connected = true;

  private constructor(
    readonly nc: NatsConnection,
    readonly jsm: JetStreamManager,
    inboxPrefix: string,
    streams: readonly string[],
    readonly log: Log,
  ) {
    this.#js = jetstream(nc);
    this.#fast = new FastIngest(nc, inboxPrefix);
    this.#lanes = streams.map((stream) => ({ stream, way: "fast", problem: "not asked yet" }));
    void this.#followConnection();
  }

  /** Asks the streams once; a stream that does not answer makes it not ready, and no more. */
  static async open(
    nc: NatsConnection,
    inboxPrefix: string,
    streams: readonly string[],
    log: Log,
  ): Promise<JetStreamLanding> {
    const jsm = await jetstreamManager(nc, { checkAPI: false });
    const landing = new JetStreamLanding(nc, jsm, inboxPrefix, streams, log);
    await landing.probe();
    return landing;
  }

  /** Why events cannot be landed right now, or undefined. */
  notReady(): string | undefined {
    if (!this.#connected) return "NATS is disconnected";
    const lane = this.#lanes.find(({ problem }) => problem !== undefined);
    return lane && `${lane.stream}: ${lane.problem}`;
  }

  /** Asks every stream whether it is there and takes batches. Never throws. */
  async probe(): Promise<void> {
    await Promise.all(this.#lanes.map(async (lane) => {
      try {
        const { config } = await this.jsm.streams.info(lane.stream);
        const { allow_batched } = config as { allow_batched?: boolean };
        this.#choose(lane, allow_batched ? "fast" : "plain");
        lane.problem = undefined;
      } catch (error) {
        lane.problem = messageOf(error);
      }
    }));
  }

  async land(
    partition: number,
    events: readonly RoutedEvent[],
    timeoutMs: number,
  ): Promise<void> {
    if (!this.#connected) throw disconnected();
    const lane = this.#lanes[partition];
    if (lane === undefined) throw new RangeError(`partition ${partition} has no stream`);
    const isFast = lane.way === "fast" && events.length >= FAST_FROM_EVENTS;
    try {
      await this.#orDisconnected(
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

  async #landPlain(events: readonly RoutedEvent[], timeout: number): Promise<void> {
    const results = await Promise.allSettled(
      events.map(({ subject, bytes, msgId }) =>
        this.#js.publish(subject, bytes, { msgID: msgId, timeout })
      ),
    );
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  // A disconnected client keeps waiting until its timeout; the device should hear at once.
  #orDisconnected(work: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#givingUp.add(reject);
      work.then(resolve, reject).finally(() => this.#givingUp.delete(reject));
    });
  }

  async #followConnection(): Promise<void> {
    for await (const { type } of this.nc.status()) {
      if (type === "disconnect") {
        this.#connected = false;
        for (const giveUp of this.#givingUp) giveUp(disconnected());
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
  return error instanceof JetStreamApiError && error.code === BATCH_DISABLED;
}

// The server's own refusals (full, out of resources) outlast a request; silence may not.
function toRetryAfter(error: unknown, stream: string): RetryAfter {
  if (error instanceof RetryAfter) return error;
  const message = `${stream}: ${messageOf(error)}`;
  if (error instanceof JetStreamApiError) {
    return new RetryAfter(message, WAIT_MS.refused, { cause: error });
  }
  const isTimeout = error instanceof Error && error.name === "TimeoutError";
  return new RetryAfter(message, isTimeout ? WAIT_MS.unknown : WAIT_MS.unanswered, {
    cause: error,
  });
}

function disconnected(): RetryAfter {
  return new RetryAfter("NATS is disconnected", WAIT_MS.disconnected);
}
