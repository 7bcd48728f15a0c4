/**
 * What `/metrics` of live says.
 *
 * @module
 */
import type { Metrics } from "../shared/process/metrics.ts";

/** Upper bounds in seconds around the promise of 5 and the hard limit of 30. */
const LATENCY_BOUNDS_SECONDS = [0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 20, 30, 60];

/** Registers live's metrics. */
export function liveMetrics(metrics: Metrics) {
  return {
    events: metrics.counter("twofold_live_events_total", "Heartbeats read, valid or not"),
    rejected: metrics.counter("twofold_live_rejected_total", "Heartbeats that cannot be used"),
    late: metrics.counter("twofold_live_late_total", "Heartbeats later than the window, left out"),
    redelivered: metrics.counter(
      "twofold_live_redelivered_total",
      "Deliveries skipped as repeated",
    ),
    copies: metrics.counter(
      "twofold_live_quarantine_copies_total",
      "Rejects copied to the quarantine, or given up and left to royalty",
    ),
    overtaken: metrics.counter(
      "twofold_live_acks_overtaken_total",
      "Rejects acknowledged before their copy, so that delivery would not stop",
    ),
    evicted: metrics.counter("twofold_live_evicted_keys_total", "Titles × regions without room"),
    rewinds: metrics.counter(
      "twofold_live_rewinds_total",
      "Times the window started again because event time had run ahead",
    ),
    keys: metrics.gauge("twofold_live_keys", "Titles × regions in the window"),
    openAlerts: metrics.gauge("twofold_live_open_alerts", "Open rebuffer incidents"),
    lag: metrics.gauge("twofold_live_lag_events", "Heartbeats not yet delivered to live"),
    watermark: metrics.gauge(
      "twofold_live_watermark_seconds",
      "Event time that the window ends at, seconds since the epoch",
    ),
    latency: metrics.histogram(
      "twofold_live_alert_latency_seconds",
      "From receipt of the newest heartbeat behind an opened alert to its acknowledgement",
      LATENCY_BOUNDS_SECONDS,
    ),
  };
}

export type LiveMetrics = ReturnType<typeof liveMetrics>;
