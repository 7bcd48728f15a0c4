/**
 * Reads one HEARTBEATS stream through the durable `royalty`, from the position in the books.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import {
  type Consumer,
  type ConsumerMessages,
  type JetStreamManager,
  jetstreamManager,
  type JsMsg,
} from "nats/jetstream";
import { deliveryOf } from "../../shared/contract/delivery.ts";
import { DURABLE } from "../../shared/contract/topology.ts";
import { Refused, RetryAfter } from "../../shared/process/errors.ts";
import { durableProblem } from "../../shared/process/nats.ts";
import type { Cursor, NumberedDelivery } from "./continuity.ts";

/** Time after the end of a fetch at which a server that did not answer is considered lost. */
const FETCH_GRACE_MS = 3_000;

const REQUEST_TIMEOUT_MS = 2_000;

/** One fetched batch, in the order of delivery. */
export interface Fetched {
  readonly deliveries: readonly NumberedDelivery[];
  /** Acknowledges the batch and everything before it; false when the server did not confirm. */
  readonly acknowledge: () => Promise<boolean>;
}

/** A reader of one stream; dispose it when done. Call {@link fetch} one at a time. */
export class StreamReader implements Disposable {
  #fetching?: ConsumerMessages;
  #connection: "same" | "changed" = "same";
  readonly #statuses: AsyncIterable<{ readonly type: string }> & { stop?: () => void };

  private constructor(
    readonly nc: NatsConnection,
    readonly stream: string,
    /** Maximum time that a batch waits to fill, ms. */
    readonly maxWaitMs: number,
    readonly jsm: JetStreamManager,
    readonly consumer: Consumer,
  ) {
    this.#statuses = nc.status();
    void this.#watchConnection();
  }

  /** Opens the durable; `maxWaitMs` as in the constructor. Rejects with {@link RetryAfter} while it does not exist or NATS is away. */
  static async open(
    nc: NatsConnection,
    stream: string,
    maxWaitMs: number,
  ): Promise<StreamReader> {
    const jsm = await jetstreamManager(nc, { checkAPI: false, timeout: REQUEST_TIMEOUT_MS });
    try {
      const consumer = await jsm.jetstream().consumers.get(stream, DURABLE.royalty);
      return new StreamReader(nc, stream, maxWaitMs, jsm, consumer);
    } catch (error) {
      throw new RetryAfter(durableProblem(stream, DURABLE.royalty, error), 1_000, { cause: error });
    }
  }

  /**
   * Sets the durable back to the position in the books and returns the cursor to follow from. The
   * last message accounted for is delivered again, to prove that the stream is the one that was
   * counted.
   *
   * Rejects with {@link Refused} when the stream ends before the position: it was restored or
   * recreated, and its sequences name other messages than those counted.
   */
  async rewind(books: Pick<Cursor, "lastSeq" | "lastReceivedAtMs">): Promise<Cursor> {
    const { lastSeq, lastReceivedAtMs } = books;
    this.#connection = "same";
    const { state } = await this.jsm.streams.info(this.stream);
    if (state.last_seq < lastSeq) {
      throw new Refused(
        `${this.stream} ends at ${state.last_seq}, but ${lastSeq} is accounted for: the stream ` +
          "was restored or recreated. Nothing is counted until a person has decided",
      );
    }
    await this.jsm.consumers.reset(this.stream, DURABLE.royalty, Math.max(lastSeq, 1));
    return { lastSeq, lastReceivedAtMs, deliveries: 0 };
  }

  /**
   * The next batch: `maxEvents`, or the messages that arrived within `maxWaitMs`. Rejects with
   * {@link RetryAfter} when NATS does not answer or its connection was lost since the rewind.
   */
  async fetch(maxEvents: number): Promise<Fetched> {
    const { maxWaitMs } = this;
    if (this.#connection === "changed") throw new RetryAfter("the NATS connection was lost", 100);
    const fetching = await this.consumer.fetch({ max_messages: maxEvents, expires: maxWaitMs });
    this.#fetching = fetching;
    let silent = false;
    const guard = setTimeout(() => {
      silent = true;
      fetching.stop();
    }, maxWaitMs + FETCH_GRACE_MS);
    const messages: JsMsg[] = [];
    try {
      for await (const message of fetching) messages.push(message);
    } finally {
      clearTimeout(guard);
    }
    if (silent && messages.length === 0) throw new RetryAfter("NATS does not answer", 1_000);
    return fetchedBatch(messages);
  }

  [Symbol.dispose](): void {
    this.#fetching?.stop();
    this.#statuses.stop?.();
  }

  // Messages in transit may be lost with the connection, and a restarted server may have lost the
  // end of the stream. A rewind handles both.
  async #watchConnection(): Promise<void> {
    for await (const { type } of this.#statuses) {
      if (type !== "disconnect" && type !== "reconnect") continue;
      this.#connection = "changed";
      this.#fetching?.stop();
    }
  }
}

function fetchedBatch(messages: readonly JsMsg[]): Fetched {
  const last = messages.at(-1);
  return {
    deliveries: messages.map(numberedDelivery),
    acknowledge: async () => {
      if (!last) return true;
      return await last.ackAck({ timeout: REQUEST_TIMEOUT_MS }).catch(() => false);
    },
  };
}

function numberedDelivery(message: JsMsg): NumberedDelivery {
  const { bytes, sequence, receivedAtMs, redelivered } = deliveryOf(message);
  const { deliverySequence } = message.info;
  return { bytes, sequence, receivedAtMs, redelivered, deliverySequence };
}
