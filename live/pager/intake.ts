/**
 * Reads ALERTS: fetch, store the record, acknowledge, in that order.
 *
 * @module
 */
import { type Consumer, jetstream, type JsMsg } from "nats/jetstream";
import type { NatsConnection } from "nats";
import { alertSchema } from "../../shared/contract/alert.ts";
import { ALERTS, DURABLE } from "../../shared/contract/topology.ts";
import { RetryAfter } from "../../shared/process/errors.ts";
import type { RoundPart } from "../../shared/process/health.ts";
import type { Log } from "../../shared/process/log.ts";
import { durableProblem, natsMessageOf } from "../../shared/process/nats.ts";
import { pause } from "../../shared/process/retry.ts";
import { jsonOf } from "../../shared/process/kept/kept_messages.ts";
import type { PagerMetrics } from "./pager_metrics.ts";
import type { Records } from "./records.ts";

const MAX_BATCH_ALERTS = 200;
/** How long a fetch waits for a full batch, in ms; the server's minimum is 1000. */
const FETCH_EXPIRES_MS = 1_000;
const FULL_RETRY_MS = 1_000;
const RETRY_MS = 500;

/** What {@link readAlerts} needs. */
export interface IntakeParts {
  readonly durable: Consumer;
  readonly records: Records;
  /** Whether this process may store alerts now. */
  readonly mayStore: () => boolean;
  readonly metrics: PagerMetrics;
  readonly health: RoundPart;
  readonly log: Log;
}

/** The durable of ALERTS; rejects with {@link RetryAfter} while it does not exist. */
export async function findPagerDurable(nc: NatsConnection): Promise<Consumer> {
  try {
    return await jetstream(nc).consumers.get(ALERTS, DURABLE.pager);
  } catch (error) {
    throw new RetryAfter(durableProblem(ALERTS, DURABLE.pager, error), 1_000, { cause: error });
  }
}

/** Reads alerts into the records until `term` is aborted. Never rejects. */
export async function readAlerts(parts: IntakeParts, term: AbortSignal): Promise<void> {
  const { durable, records, health, log } = parts;
  while (!term.aborted) {
    if (records.isFull) {
      health.fails("there are more open incidents than fit");
      log.error("live.pager.full", { incidents: records.open });
      records.prune();
      await pause(FULL_RETRY_MS, term);
      continue;
    }
    try {
      const options = { max_messages: MAX_BATCH_ALERTS, expires: FETCH_EXPIRES_MS };
      // Each as it comes: the iterator ends when the fetch expires.
      const storing: Promise<void>[] = [];
      for await (const message of await durable.fetch(options)) storing.push(take(parts, message));
      await Promise.all(storing);
      health.works();
    } catch (error) {
      if (term.aborted) return;
      health.fails(`ALERTS: ${natsMessageOf(error)}`);
      log.warn("live.pager.reading_retry", { error: natsMessageOf(error) });
      await pause(RETRY_MS, term);
    }
  }
}

/** Stores an alert and acknowledges it; one that cannot be stored comes again. Never rejects. */
async function take(parts: IntakeParts, message: JsMsg): Promise<void> {
  const { records, metrics, log, mayStore } = parts;
  if (!mayStore()) return message.nak();
  const alert = alertSchema.safeParse(jsonOf(message.data)).data;
  metrics.read(alert === undefined ? "unreadable" : "usable");
  if (alert === undefined) {
    log.warn("live.pager.unreadable", { subject: message.subject, seq: message.seq });
    return message.ack();
  }
  try {
    await records.addAlert(message.subject, alert);
    message.ack();
  } catch (error) {
    log.warn("live.pager.reading_retry", { error: natsMessageOf(error) });
    message.nak();
  }
}
