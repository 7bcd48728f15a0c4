/**
 * Tells royalty what live has read, interval by interval.
 *
 * Plain messages that nobody has to hear and nobody waits for: one that is lost is an interval that
 * is not compared.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { IntervalTally, type LiveTotals } from "../../shared/contract/totals.ts";
import { liveTotalsSubject } from "../../shared/contract/topology.ts";

/** A tally of `stream` that publishes each interval it finishes. */
export function publishedTally(
  nc: Pick<NatsConnection, "publish" | "isClosed" | "isDraining">,
  stream: string,
  intervalMs: number,
): IntervalTally {
  return new IntervalTally(intervalMs, ({ from, quietSince, events, playedMs }) => {
    // Reading must not fail because the process is about to end.
    if (nc.isClosed() || nc.isDraining()) return;
    const totals: LiveTotals = {
      v: 1,
      stream,
      interval_ms: intervalMs,
      from,
      quiet_since: quietSince,
      events,
      played_ms: playedMs,
    };
    nc.publish(liveTotalsSubject(stream), JSON.stringify(totals));
  });
}
