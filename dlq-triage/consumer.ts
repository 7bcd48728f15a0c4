/**
 * Reads QUARANTINE into the store: fetch, classify, store, acknowledge, in that order.
 *
 * Explicit acknowledgement, each after the commit: an entry whose commit is not known comes again
 * and is recognised by the store.
 *
 * @module
 */
import type { Consumer, JsMsg } from "nats/jetstream";
import { deliveryOf } from "../shared/contract/delivery.ts";
import { headerValue } from "../shared/contract/quarantine.ts";
import { messageOf, RetryAfter } from "../shared/process/errors.ts";
import { pause, untilReady } from "../shared/process/lifecycle.ts";
import type { Log } from "../shared/process/log.ts";
import type { Counter } from "../shared/process/metrics.ts";
import { type Arrival, classify } from "./classify.ts";
import type { Quarantine } from "./quarantine.ts";

/** Entries held at once; times the largest heartbeat, 8 MiB of bodies. */
const BATCH_ENTRIES = 500;
/** A fetch that finds too little waits this long, in ms; the least the server allows is 1000. */
const FETCH_EXPIRES_MS = 1_000;

/** What the consumer needs. */
export interface ConsumerParts {
  readonly durable: Consumer;
  readonly store: Quarantine;
  readonly log: Log;
  readonly added: Counter;
  readonly known: Counter;
  /** Told why no progress is made, and undefined when it is again. */
  readonly report: (trouble: string | undefined) => void;
}

/** Works until `signal` is aborted; a batch under way is finished first. */
export async function consumeQuarantine(parts: ConsumerParts, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const messages = await fetchBatch(parts.durable);
      if (messages.length > 0) await keep(parts, messages, signal);
      parts.report(undefined);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof RetryAfter)) throw error;
      parts.report(error.message);
      parts.log.warn("not reading, trying again", { error: error.message });
      await pause(error.retryAfterMs, signal);
    }
  }
}

async function fetchBatch(durable: Consumer): Promise<JsMsg[]> {
  const messages: JsMsg[] = [];
  try {
    const options = { max_messages: BATCH_ENTRIES, expires: FETCH_EXPIRES_MS };
    for await (const message of await durable.fetch(options)) messages.push(message);
  } catch (error) {
    // What did arrive is worth keeping; the failure shows again at the next fetch.
    if (messages.length > 0) return messages;
    throw new RetryAfter(`QUARANTINE: ${messageOf(error)}`, 500, { cause: error });
  }
  return messages;
}

async function keep(parts: ConsumerParts, messages: JsMsg[], signal: AbortSignal): Promise<void> {
  const entries = messages.map((message) => classify(arrivalOf(message)));
  const stored = await untilReady(signal, parts.log, async () => {
    try {
      return await parts.store.store(entries);
    } catch (error) {
      parts.report(messageOf(error));
      throw error;
    }
  });
  parts.added.add(stored.added);
  parts.known.add(stored.known);
  await acknowledge(messages);
}

// Acknowledgements of one connection arrive in order, so the answer to the last one is for all.
async function acknowledge(messages: readonly JsMsg[]): Promise<void> {
  for (const message of messages.slice(0, -1)) message.ack();
  const known = await messages[messages.length - 1].ackAck().catch(() => false);
  if (!known) throw new RetryAfter("QUARANTINE does not confirm acknowledgements", 500);
}

function arrivalOf(message: JsMsg): Arrival {
  const { sequence, receivedAt } = deliveryOf(message);
  const { subject, data: bytes } = message;
  return { subject, bytes, sequence, quarantinedAt: receivedAt, headers: headersOf(message) };
}

// The client parses headers when they are first asked for, and throws on what it cannot parse.
function headersOf(message: JsMsg): ReadonlyMap<string, string> | undefined {
  try {
    const headers = message.headers;
    return new Map(headers?.keys().map((name) => [name, headerValue(headers.get(name))]));
  } catch {
    return undefined;
  }
}
