/**
 * Stores the entries of QUARANTINE: fetch, classify, store, acknowledge, in that order.
 *
 * Each entry is acknowledged explicitly after the commit. If the outcome of a commit is unknown,
 * its entries are delivered again and the store recognises them.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { type Consumer, jetstream, type JsMsg } from "nats/jetstream";
import { deliveredMessage } from "../shared/contract/delivery/delivery.ts";
import { headerValue } from "../shared/contract/quarantine.ts";
import { messageOf, RetryAfter } from "../shared/process/errors.ts";
import type { RoundPart } from "../shared/process/health.ts";
import { durableProblem, natsMessageOf } from "../shared/process/nats.ts";
import { pause, untilReady } from "../shared/process/retry.ts";
import type { Log } from "../shared/process/log.ts";
import type { Counter } from "../shared/process/metrics.ts";
import { DURABLE, QUARANTINE } from "../shared/contract/topology.ts";
import { classify, type QuarantineMessage } from "./classify.ts";
import type { Quarantine } from "./quarantine.ts";

/** Maximum entries per batch: with the largest heartbeats, 8 MiB of bodies. */
const MAX_BATCH_ENTRIES = 500;
/** How long a fetch waits for a full batch, in ms; the server's minimum is 1000. */
const FETCH_EXPIRES_MS = 1_000;

/** Dependencies of {@link consumeQuarantine}. */
export interface ConsumerDependencies {
  readonly durable: Consumer;
  readonly store: Quarantine;
  readonly log: Log;
  /** Counts entries stored. */
  readonly added: Counter;
  /** Counts deliveries of entries that were stored before. */
  readonly known: Counter;
  /** Reports every round. */
  readonly health: RoundPart;
  /** Called with the number of entries that were stored or recognised. */
  readonly onStored?: (entries: number) => void;
}

/**
 * Consumes QUARANTINE until `signal` is aborted; a batch in progress is finished first. Retries
 * after {@link RetryAfter}; rejects with any other error.
 */
export async function consumeQuarantine(
  dependencies: ConsumerDependencies,
  signal: AbortSignal,
): Promise<void> {
  const { durable, health, log } = dependencies;
  while (!signal.aborted) {
    try {
      const messages = await fetchBatch(durable);
      if (messages.length > 0) await storeBatch(dependencies, messages, signal);
      health.works();
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof RetryAfter)) throw error;
      health.fails(error.message);
      log.warn("triage.reading.retry", { error });
      await pause(error.retryAfterMs, signal);
    }
  }
}

/** The durable of QUARANTINE; rejects with {@link RetryAfter} while it does not exist. */
export async function findDurable(nc: NatsConnection): Promise<Consumer> {
  try {
    return await jetstream(nc).consumers.get(QUARANTINE, DURABLE.triage);
  } catch (error) {
    const problem = durableProblem(QUARANTINE, DURABLE.triage, error);
    throw new RetryAfter(problem, 1_000, { cause: error });
  }
}

async function fetchBatch(durable: Consumer): Promise<JsMsg[]> {
  const messages: JsMsg[] = [];
  try {
    const options = { max_messages: MAX_BATCH_ENTRIES, expires: FETCH_EXPIRES_MS };
    for await (const message of await durable.fetch(options)) messages.push(message);
  } catch (error) {
    // Messages that did arrive are stored; a lasting failure fails the next fetch too.
    if (messages.length > 0) return messages;
    throw new RetryAfter(`QUARANTINE: ${natsMessageOf(error)}`, 500, { cause: error });
  }
  return messages;
}

async function storeBatch(
  { store, log, health, added, known, onStored }: ConsumerDependencies,
  messages: readonly JsMsg[],
  signal: AbortSignal,
): Promise<void> {
  const entries = messages.map((message) => classify(quarantineMessageOf(message)));
  const stored = await untilReady(signal, log, async () => {
    try {
      return await store.store(entries);
    } catch (error) {
      health.fails(messageOf(error));
      throw error;
    }
  });
  added.inc(stored.added);
  known.inc(stored.known);
  onStored?.(stored.added + stored.known);
  await acknowledge(messages);
}

// Acknowledgements of one connection arrive in order, so a confirmed last one confirms all.
async function acknowledge(messages: readonly JsMsg[]): Promise<void> {
  const last = messages.at(-1);
  if (last === undefined) return;
  for (const message of messages.slice(0, -1)) message.ack();
  const isConfirmed = await last.ackAck().catch(() => false);
  if (!isConfirmed) throw new RetryAfter("QUARANTINE does not confirm acknowledgements", 500);
}

function quarantineMessageOf(message: JsMsg): QuarantineMessage {
  const { sequence, receivedAtMs } = deliveredMessage(message);
  const { subject, data: bytes } = message;
  return { subject, bytes, sequence, quarantinedAt: receivedAtMs, headers: headersOf(message) };
}

// The client parses headers at the first access, and throws when it cannot.
function headersOf(message: JsMsg): ReadonlyMap<string, string> | undefined {
  try {
    const headers = message.headers;
    return new Map(headers?.keys().map((name) => [name, headerValue(headers.get(name))]));
  } catch {
    return undefined;
  }
}
