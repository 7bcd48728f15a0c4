/**
 * Reads QUARANTINE into the store: fetch, classify, store, acknowledge, in that order.
 *
 * Explicit acknowledgement, each after the commit: an entry whose commit is not known comes again
 * and is recognised by the store.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { type Consumer, jetstream, type JsMsg } from "nats/jetstream";
import { deliveryOf } from "../shared/contract/delivery.ts";
import { headerValue } from "../shared/contract/quarantine.ts";
import { messageOf, RetryAfter } from "../shared/process/errors.ts";
import type { RoundPart } from "../shared/process/health.ts";
import { pause, untilReady } from "../shared/process/retry.ts";
import type { Log } from "../shared/process/log.ts";
import type { Counter } from "../shared/process/metrics.ts";
import { DURABLE, QUARANTINE } from "../shared/contract/topology.ts";
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
  /** Receives whether progress is made. */
  readonly health: RoundPart;
}

/** Works until `signal` is aborted; a batch under way is finished first. */
export async function consumeQuarantine(parts: ConsumerParts, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const messages = await fetchBatch(parts.durable);
      if (messages.length > 0) await keep(parts, messages, signal);
      parts.health.works();
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof RetryAfter)) throw error;
      parts.health.fails(error.message);
      parts.log.warn("triage.reading.retry", { error });
      await pause(error.retryAfterMs, signal);
    }
  }
}

/** The durable of QUARANTINE; rejects with {@link RetryAfter} while it is not there. */
export async function findDurable(nc: NatsConnection): Promise<Consumer> {
  try {
    return await jetstream(nc).consumers.get(QUARANTINE, DURABLE.triage);
  } catch (error) {
    const message = `durable ${DURABLE.triage} of ${QUARANTINE}: ${messageOf(error)}`;
    throw new RetryAfter(`${message} (has deno task provision run?)`, 1_000, { cause: error });
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
      parts.health.fails(messageOf(error));
      throw error;
    }
  });
  parts.added.inc(stored.added);
  parts.known.inc(stored.known);
  await acknowledge(messages);
}

// Acknowledgements of one connection arrive in order, so the answer to the last one is for all.
async function acknowledge(messages: readonly JsMsg[]): Promise<void> {
  const last = messages.at(-1);
  if (last === undefined) return;
  for (const message of messages.slice(0, -1)) message.ack();
  const known = await last.ackAck().catch(() => false);
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
