/**
 * Reads raw heartbeats by sequence, without a consumer. Royalty's recount, audit and rebuild
 * use it, and live's explain; posting and live read through a durable instead.
 *
 * It uses batched direct gets: no consumer is created or moved, nothing is acknowledged, and any
 * replica may answer. Each message carries the sequence of the message sent before it. A message
 * lost in transit, which is requested again, is thereby distinguished from a sequence that the
 * stream does not have, which is left out.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstreamManager } from "nats/jetstream";
import { messageOf, RetryAfter } from "../errors.ts";
import { pause } from "../retry.ts";
import {
  millisecondsOf,
  type RawEvent,
  rawEventsIn,
  type RawMessage,
  storedMessage,
} from "./stored_message.ts";

/** The messages that a stream still holds. */
export interface RawExtent {
  /** The oldest sequence kept; `lastSeq + 1` when the stream is empty. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Receipt of the oldest message kept, ms since the epoch; undefined when the stream is empty. */
  readonly firstReceivedAt: number | undefined;
  /** How long the stream keeps messages, ms; Infinity without a limit. */
  readonly maxAgeMs: number;
}

/** Maximum messages and bytes per request; two batches are in memory at a time. */
const BATCH_MESSAGES = 4_000;
const BATCH_BYTES = 8 * 1024 * 1024;
/** After this time the messages that arrived are used, and the rest is requested again. */
const ANSWER_TIMEOUT_MS = 3_000;
/** Upper bound of the clock skew between servers: receipt times may go back by that much. */
const MAX_CLOCK_SKEW_MS = 60_000;
/** Requests whose answer is lost or empty before reading gives up, and the wait between them. */
const MAX_ATTEMPTS = 5;
const RETRY_MS = 200;

/** The extent of `stream`. Rejects with {@link RetryAfter} while NATS does not answer. */
export async function rawExtent(nc: NatsConnection, stream: string): Promise<RawExtent> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  try {
    const { state, config } = await jsm.streams.info(stream);
    return {
      // An empty stream that never had a message says 0.
      firstSeq: Math.max(state.first_seq, 1),
      lastSeq: state.last_seq,
      firstReceivedAt: state.messages === 0 ? undefined : millisecondsOf(state.first_ts),
      maxAgeMs: config.max_age > 0 ? config.max_age / 1_000_000 : Infinity,
    };
  } catch (error) {
    throw new RetryAfter(`stream ${stream}: ${messageOf(error)}`, 1_000, { cause: error });
  }
}

/**
 * A sequence of `stream` such that everything received at `instant` (ms since the epoch) or later has
 * this sequence or a higher one; undefined when nothing was received since. Rejects with
 * {@link RetryAfter} while NATS does not answer.
 */
export async function firstSequenceSince(
  nc: NatsConnection,
  stream: string,
  instant: number,
): Promise<number | undefined> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  try {
    const start_time = new Date(instant - MAX_CLOCK_SKEW_MS).toISOString();
    return (await jsm.direct.getMessage(stream, { start_time }))?.seq;
  } catch (error) {
    throw new RetryAfter(`stream ${stream}: ${messageOf(error)}`, 1_000, { cause: error });
  }
}

/** Sequences, both included. */
export interface SequenceRange {
  readonly from: number;
  readonly through: number;
}

/**
 * The heartbeats of `stream` in the messages of `range`, in order, in batches that are not empty.
 * Otherwise like {@link readRawMessages}.
 */
export async function* readRaw(
  nc: NatsConnection,
  stream: string,
  range: SequenceRange,
): AsyncGenerator<readonly RawEvent[]> {
  for await (const batch of readRawMessages(nc, stream, range)) yield batch.flatMap(rawEventsIn);
}

/**
 * The messages of `stream` from sequence `from` to `through`, both included, in order, in batches
 * that are not empty. Sequences that the stream does not have are left out. Rejects with
 * {@link RetryAfter} when NATS stops answering.
 */
export async function* readRawMessages(
  nc: NatsConnection,
  stream: string,
  { from, through }: SequenceRange,
): AsyncGenerator<readonly RawMessage[]> {
  if (from > through) return;
  let next = requestBatch(nc, stream, from);
  // Awaited below. Without this, a failure while the caller works would be an unhandled rejection.
  next.catch(() => {});
  for (;;) {
    const batch = await next;
    const last = batch.at(-1)?.sequence;
    if (last === undefined) return;
    if (last < through) {
      next = requestBatch(nc, stream, last + 1);
      next.catch(() => {});
    }
    const inRange = last <= through ? batch : batch.filter(({ sequence }) => sequence <= through);
    if (inRange.length > 0) yield inRange;
    if (last >= through) return;
  }
}

// An empty answer is requested again too, because the replica that answered may be behind.
async function requestBatch(
  nc: NatsConnection,
  stream: string,
  from: number,
): Promise<RawMessage[]> {
  for (let attempt = 1;; attempt++) {
    const { messages, complete, problem } = await requestOnce(nc, stream, from);
    if (messages.length > 0 || (complete && attempt === MAX_ATTEMPTS)) return messages;
    if (attempt === MAX_ATTEMPTS) {
      throw new RetryAfter(`${stream} does not answer from sequence ${from} on: ${problem}`, 1_000);
    }
    await pause(RETRY_MS);
  }
}

interface Answer {
  readonly messages: RawMessage[];
  /** The server confirmed the end of the batch; otherwise the rest was lost in transit. */
  readonly complete: boolean;
  /** Why the answer ended. */
  readonly problem: string;
}

/** Status codes that end a batch: 204, or 404 when no message is left. */
const END_CODES: ReadonlySet<number> = new Set([204, 404]);

async function requestOnce(nc: NatsConnection, stream: string, from: number): Promise<Answer> {
  const request = { seq: from, batch: BATCH_MESSAGES, max_bytes: BATCH_BYTES };
  const messages: RawMessage[] = [];
  const answer = (complete: boolean, problem: string) => ({ messages, complete, problem });
  try {
    const answers = await nc.requestMany(
      `$JS.API.DIRECT.GET.${stream}`,
      JSON.stringify(request),
      { strategy: "sentinel", maxWait: ANSWER_TIMEOUT_MS, noMux: true },
    );
    for await (const message of answers) {
      // An event without bytes has no status, so it does not end the batch.
      const status = message.data.length === 0 ? message.headers : undefined;
      if (status?.code) {
        return answer(END_CODES.has(status.code), status.description);
      }
      const stored = storedMessage(message);
      if (stored.previous !== (messages.at(-1)?.sequence ?? 0)) {
        return answer(false, "a message was lost in transit");
      }
      messages.push(stored);
    }
    return answer(false, "no answer");
  } catch (error) {
    return answer(false, messageOf(error));
  }
}
