/**
 * Publishes live's totals per interval, which royalty compares with its own.
 *
 * They are plain NATS messages without acknowledgement: if one is lost, its interval is not
 * compared.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { IntervalTally, type LiveTotals } from "../../shared/contract/totals.ts";
import { liveTotalsSubject } from "../../shared/contract/topology.ts";

/** A tally of `stream` that publishes the totals of each finished interval of `intervalMs`. */
export function publishedTally(
  nc: Pick<NatsConnection, "publish" | "isClosed" | "isDraining">,
  stream: string,
  intervalMs: number,
): IntervalTally {
  return new IntervalTally(intervalMs, ({ from, quietSinceMs, events, playedMs }) => {
    // Publishing on a closed connection throws, and must not fail the reader while it stops.
    if (nc.isClosed() || nc.isDraining()) return;
    const totals: LiveTotals = {
      v: 1,
      stream,
      interval_ms: intervalMs,
      from,
      quiet_since: quietSinceMs,
      events,
      played_ms: playedMs,
    };
    nc.publish(liveTotalsSubject(stream), JSON.stringify(totals));
  });
}
