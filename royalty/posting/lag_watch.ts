/**
 * Reads the lag of each stream in a loop of its own, so that a worker that hangs does not hide it.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { messageOf } from "../../shared/process/errors.ts";
import type { RoundPart } from "../../shared/process/health.ts";
import type { Log } from "../../shared/process/log.ts";
import { pause } from "../../shared/process/retry.ts";
import { lagOf } from "../raw/stream_ends.ts";
import type { PostingMetrics } from "./posting_metrics.ts";

const POLL_MS = 2_000;

/** Where {@link watchLag} reports to. */
export interface LagWatchParts {
  readonly metrics: Pick<PostingMetrics, "lag" | "streams">;
  readonly health: RoundPart;
  readonly log: Log;
}

/** Reads the lag until `signal` is aborted. Never rejects. */
export async function watchLag(
  nc: NatsConnection,
  { metrics, health, log }: LagWatchParts,
  signal: AbortSignal,
): Promise<void> {
  let isKnown = true;
  while (!signal.aborted) {
    try {
      const lags = await lagOf(nc, metrics.streams);
      for (const [stream, events] of lags) metrics.lag(stream, events);
      health.works();
      isKnown = true;
    } catch (error) {
      for (const stream of metrics.streams) metrics.lag(stream, undefined);
      health.fails(`the lag cannot be read from NATS: ${messageOf(error)}`);
      // Only the message: an answer that does not come is no bug.
      if (isKnown) log.warn("royalty.posting.lag_unknown", { error: messageOf(error) });
      isKnown = false;
    }
    await pause(POLL_MS, signal);
  }
}
