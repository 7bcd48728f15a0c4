/**
 * Reads one HEARTBEATS stream through the durable `royalty`, from where the books say.
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
import { messageOf, Refused, RetryAfter } from "../../shared/process/errors.ts";
import type { Cursor, NumberedDelivery } from "./continuity.ts";

/** Longer than this past a fetch's own end, the server is taken for gone. */
const SILENCE_MS = 3_000;

const REQUEST_TIMEOUT_MS = 2_000;

/** One fetched batch, in the order of delivery. */
export interface Fetched {
  readonly deliveries: readonly NumberedDelivery[];
  /** Acknowledges the batch and everything before it; false when no answer came. */
  readonly acknowledge: () => Promise<boolean>;
}

export interface StreamReaderOptions {
  readonly maxEvents: number;
  readonly maxWaitMs: number;
}

/** One reader of one stream; close it when done. At most one fetch at a time. */
export class StreamReader implements Disposable {
  #fetching?: ConsumerMessages;
  #connection: "same" | "changed" = "same";
  readonly #statuses: AsyncIterable<{ readonly type: string }> & { stop?: () => void };

  private constructor(
    readonly nc: NatsConnection,
    readonly stream: string,
    readonly options: StreamReaderOptions,
    readonly jsm: JetStreamManager,
    readonly consumer: Consumer,
  ) {
    this.#statuses = nc.status();
    void this.#watchConnection();
  }

  /** Opens the durable. Rejects with {@link RetryAfter} while there is none or no answer comes. */
  static async open(
    nc: NatsConnection,
    stream: string,
    options: StreamReaderOptions,
  ): Promise<StreamReader> {
    const jsm = await jetstreamManager(nc, { checkAPI: false, timeout: REQUEST_TIMEOUT_MS });
    try {
      const consumer = await jsm.jetstream().consumers.get(stream, DURABLE.royalty);
      return new StreamReader(nc, stream, options, jsm, consumer);
    } catch (error) {
      throw new RetryAfter(
        `durable ${stream}/${DURABLE.royalty}: ${messageOf(error)} (made by deno task provision)`,
        1_000,
        { cause: error },
      );
    }
  }

  /**
   * Sets the durable back to the books and returns the cursor to follow from. The last message
   * accounted for comes again, as proof that the stream is the one that was counted.
   *
   * Rejects with {@link Refused} when the stream ends before the books do: it was restored or made
   * anew, and its sequences name other messages than those counted.
   */
  async rewind(books: Pick<Cursor, "lastSeq" | "lastReceivedAt">): Promise<Cursor> {
    const { lastSeq, lastReceivedAt } = books;
    this.#connection = "same";
    const { state } = await this.jsm.streams.info(this.stream);
    if (state.last_seq < lastSeq) {
      throw new Refused(
        `${this.stream} ends at ${state.last_seq}, but ${lastSeq} is accounted for: the stream ` +
          "was restored or made anew. Nothing is counted until a person has decided",
      );
    }
    await this.jsm.consumers.reset(this.stream, DURABLE.royalty, Math.max(lastSeq, 1));
    return { lastSeq, lastReceivedAt, deliveries: 0 };
  }

  /** The next batch: full, or what came until the wait was over. */
  async fetch(): Promise<Fetched> {
    const { maxEvents, maxWaitMs } = this.options;
    if (this.#connection === "changed") throw new RetryAfter("the NATS connection was lost", 100);
    const fetching = await this.consumer.fetch({ max_messages: maxEvents, expires: maxWaitMs });
    this.#fetching = fetching;
    let silent = false;
    const guard = setTimeout(() => {
      silent = true;
      fetching.stop();
    }, maxWaitMs + SILENCE_MS);
    const messages: JsMsg[] = [];
    try {
      for await (const message of fetching) messages.push(message);
    } finally {
      clearTimeout(guard);
    }
    if (silent && messages.length === 0) throw new RetryAfter("NATS does not answer", 1_000);
    return fetched(messages);
  }

  [Symbol.dispose](): void {
    this.#fetching?.stop();
    this.#statuses.stop?.();
  }

  // What was under way when the connection went may be lost, and the server that comes back may
  // have lost the end of the stream: both are settled by a rewind.
  async #watchConnection(): Promise<void> {
    for await (const { type } of this.#statuses) {
      if (type !== "disconnect" && type !== "reconnect") continue;
      this.#connection = "changed";
      this.#fetching?.stop();
    }
  }
}

function fetched(messages: readonly JsMsg[]): Fetched {
  const last = messages.at(-1);
  return {
    deliveries: messages.map(numbered),
    acknowledge: async () => {
      if (!last) return true;
      return await last.ackAck({ timeout: REQUEST_TIMEOUT_MS }).catch(() => false);
    },
  };
}

function numbered(message: JsMsg): NumberedDelivery {
  const { bytes, sequence, receivedAt, redelivered } = deliveryOf(message);
  const { deliverySequence } = message.info;
  return { bytes, sequence, receivedAt, redelivered, deliverySequence };
}
