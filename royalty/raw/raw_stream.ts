/**
 * Raw heartbeats read by sequence, beside every durable: for what checks the books, not for what
 * writes them.
 *
 * Direct batch gets: no consumer is made or moved, nothing is acknowledged, and any replica may
 * answer. Each message names the one sent before it, so a message lost on the way (asked for again)
 * is told from a sequence that the stream does not have (left out of the answer).
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstreamManager } from "nats/jetstream";
import { messageOf, RetryAfter } from "../../shared/process/errors.ts";
import { pause } from "../../shared/process/retry.ts";
import { millisecondsOf, type RawMessage, storedMessage } from "./stored_message.ts";

/** What a stream still has. */
export interface RawExtent {
  /** The oldest sequence kept; one more than `lastSeq` when the stream is empty. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** When the oldest message kept was received, ms since the epoch; undefined when there is none. */
  readonly firstReceivedAt: number | undefined;
  /** How long the stream keeps messages, in ms; Infinity when it never drops any. */
  readonly maxAgeMs: number;
}

/** Messages and bytes asked for at once; two such batches are in memory. */
const BATCH_MESSAGES = 4_000;
const BATCH_BYTES = 8 * 1024 * 1024;
/** The longest that an answer may take; what came by then is used, and the rest asked for again. */
const ANSWER_MS = 3_000;
/** More than the clocks of two servers may be apart, ms: receipt times may run back by that much. */
const CLOCKS_APART_MS = 60_000;
/** Answers in a row that may be lost or empty, and the wait between them. */
const ATTEMPTS = 5;
const RETRY_MS = 200;

/** What `stream` still has. Rejects with {@link RetryAfter} while NATS does not tell. */
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
 * A sequence of `stream` before which nothing was received at `instant` (ms since the epoch) or later;
 * undefined when nothing was. Rejects with {@link RetryAfter} while NATS does not tell.
 */
export async function firstSince(
  nc: NatsConnection,
  stream: string,
  instant: number,
): Promise<number | undefined> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  try {
    const start_time = new Date(instant - CLOCKS_APART_MS).toISOString();
    return (await jsm.direct.getMessage(stream, { start_time }))?.seq;
  } catch (error) {
    throw new RetryAfter(`stream ${stream}: ${messageOf(error)}`, 1_000, { cause: error });
  }
}

/**
 * The messages of `stream` from sequence `from` to `through`, both included, in order and in
 * batches. Rejects with {@link RetryAfter} when NATS stops answering; a sequence that is not there is
 * left out.
 */
export async function* readRaw(
  nc: NatsConnection,
  stream: string,
  { from, through }: { readonly from: number; readonly through: number },
): AsyncGenerator<readonly RawMessage[]> {
  if (from > through) return;
  let next = insist(nc, stream, from);
  // Awaited below; a failure while the caller works is not unhandled.
  next.catch(() => {});
  for (;;) {
    const batch = await next;
    const last = batch.at(-1)?.sequence;
    if (last === undefined) return;
    if (last < through) {
      next = insist(nc, stream, last + 1);
      next.catch(() => {});
    }
    const wanted = last <= through ? batch : batch.filter(({ sequence }) => sequence <= through);
    if (wanted.length > 0) yield wanted;
    if (last >= through) return;
  }
}

// An empty answer is asked for again too: a replica that is behind does not know better.
async function insist(nc: NatsConnection, stream: string, from: number): Promise<RawMessage[]> {
  for (let attempt = 1;; attempt++) {
    const { messages, complete, trouble } = await ask(nc, stream, from);
    if (messages.length > 0 || (complete && attempt === ATTEMPTS)) return messages;
    if (attempt === ATTEMPTS) {
      throw new RetryAfter(`${stream} does not answer from sequence ${from} on: ${trouble}`, 1_000);
    }
    await pause(RETRY_MS);
  }
}

interface Answer {
  readonly messages: RawMessage[];
  /** The server said that this is all; otherwise the rest was lost on the way. */
  readonly complete: boolean;
  readonly trouble: string;
}

/** What came after the batch: 204, or 404 when nothing is left. */
const ENDS: ReadonlySet<number> = new Set([204, 404]);

async function ask(nc: NatsConnection, stream: string, from: number): Promise<Answer> {
  const request = { seq: from, batch: BATCH_MESSAGES, max_bytes: BATCH_BYTES };
  const messages: RawMessage[] = [];
  const answer = (complete: boolean, trouble: string) => ({ messages, complete, trouble });
  try {
    const answers = await nc.requestMany(
      `$JS.API.DIRECT.GET.${stream}`,
      JSON.stringify(request),
      { strategy: "sentinel", maxWait: ANSWER_MS, noMux: true },
    );
    for await (const message of answers) {
      // An event without bytes is no end; it has no status.
      const status = message.data.length === 0 ? message.headers : undefined;
      if (status?.code) {
        return answer(ENDS.has(status.code), status.description);
      }
      const stored = storedMessage(message);
      if (stored.previous !== (messages.at(-1)?.sequence ?? 0)) return answer(false, "a loss");
      messages.push(stored);
    }
    return answer(false, "no answer");
  } catch (error) {
    return answer(false, messageOf(error));
  }
}
