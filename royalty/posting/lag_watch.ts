/**
 * How far each stream is behind, asked on a clock of its own: a worker that hangs reports no lag, and
 * that must not look like none.
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

const ASK_EVERY_MS = 2_000;

/** What the watch reports to. */
export interface LagWatchParts {
  readonly metrics: Pick<PostingMetrics, "lag" | "streams">;
  readonly health: RoundPart;
  readonly log: Log;
}

/** Asks until `signal` is aborted. Never rejects. */
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
      health.fails(`NATS does not say how far royalty is behind: ${messageOf(error)}`);
      if (isKnown) log.warn("royalty.posting.lag_unknown", { error });
      isKnown = false;
    }
    await pause(ASK_EVERY_MS, signal);
  }
}
