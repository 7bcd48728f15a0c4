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
import {
  type DeliveredMessage,
  deliveredMessage,
} from "../../shared/contract/delivery/delivery.ts";
import { DURABLE } from "../../shared/contract/topology.ts";
import { Refused, RetryAfter } from "../../shared/process/errors.ts";
import { durableProblem } from "../../shared/process/nats.ts";
import type { Cursor } from "./continuity.ts";

/** Maximum messages of one request: several small ones cost the broker less than a large one. */
const MAX_FETCH_MESSAGES = 500;
/** Time after the end of a fetch at which a server that did not answer is considered lost. */
const FETCH_GRACE_MS = 3_000;

const REQUEST_TIMEOUT_MS = 2_000;

/** One fetched batch, in the order of delivery. */
export interface Fetched {
  readonly messages: readonly DeliveredMessage[];
  /** Acknowledges the batch and everything before it; false when the server did not confirm. */
  readonly acknowledge: () => Promise<boolean>;
}

interface Received {
  readonly message: DeliveredMessage;
  readonly toAcknowledge: JsMsg;
}

/** A reader of one stream; dispose it when done. Call {@link fetch} one at a time. */
export class StreamReader implements Disposable {
  #fetching?: ConsumerMessages;
  /** Received beyond what a batch may have; they are the first of the next one. */
  #waiting: Received[] = [];
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
    this.#waiting = [];
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
   * The next batch, in whole messages: up to `maxEvents` events, but at least a message, or what arrived
   * within `maxWaitMs`. Rejects with {@link RetryAfter} when NATS does not answer or its connection was
   * lost since the rewind.
   */
  async fetch(maxEvents: number): Promise<Fetched> {
    const endMs = performance.now() + this.maxWaitMs;
    const batch: Received[] = [];
    let room = maxEvents;
    for (;;) {
      room = this.#take(batch, room);
      if (room <= 0 || this.#waiting.length > 0) break;
      if (batch.length > 0 && performance.now() >= endMs) break;
      const count = Math.min(room, MAX_FETCH_MESSAGES);
      if (await this.#receive(count) < count) {
        this.#take(batch, room);
        break;
      }
    }
    return fetchedBatch(batch);
  }

  // Moves what is received into `batch` while its events find room; returns the room that is left.
  #take(batch: Received[], maxEvents: number): number {
    let room = maxEvents;
    let taken = 0;
    for (const received of this.#waiting) {
      const { length } = received.message.events;
      if (length > room && batch.length > 0) break;
      batch.push(received);
      room -= length;
      taken += 1;
    }
    this.#waiting = this.#waiting.slice(taken);
    return room;
  }

  // Receives up to `maxMessages`, for `maxWaitMs` at most; returns their number.
  async #receive(maxMessages: number): Promise<number> {
    const { maxWaitMs } = this;
    if (this.#connection === "changed") throw new RetryAfter("the NATS connection was lost", 100);
    const fetching = await this.consumer.fetch({ max_messages: maxMessages, expires: maxWaitMs });
    this.#fetching = fetching;
    let silent = false;
    const guard = setTimeout(() => {
      silent = true;
      fetching.stop();
    }, maxWaitMs + FETCH_GRACE_MS);
    let count = 0;
    try {
      for await (const message of fetching) {
        this.#waiting.push({ message: deliveredMessage(message), toAcknowledge: message });
        count += 1;
      }
    } finally {
      clearTimeout(guard);
    }
    if (silent && count === 0) throw new RetryAfter("NATS does not answer", 1_000);
    return count;
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

function fetchedBatch(batch: readonly Received[]): Fetched {
  const last = batch.at(-1)?.toAcknowledge;
  return {
    messages: batch.map(({ message }) => message),
    acknowledge: async () => {
      if (!last) return true;
      return await last.ackAck({ timeout: REQUEST_TIMEOUT_MS }).catch(() => false);
    },
  };
}
