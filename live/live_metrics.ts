/**
 * What `/metrics` of live says. Counters live as plain numbers on the hot path and are read at a
 * scrape.
 *
 * @module
 */
import type { Histogram, Metrics } from "../shared/process/metrics.ts";
import type { Incidents } from "./incidents/incidents.ts";
import type { Monitor } from "./detect/monitor.ts";
import type { Copies } from "./watch/copies.ts";
import type { Reader } from "./watch/reader.ts";
import type { Window } from "./watch/window.ts";
import type { Reject } from "../shared/contract/quarantine.ts";

/** Upper bounds in seconds around the promise of 5 and the hard limit of 30. */
const LATENCY_BOUNDS_SECONDS = [0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 20, 30, 60];

/** The parts of live whose figures are shown. */
export interface LiveParts {
  readonly readers: readonly Reader[];
  readonly copies: Copies<Reject>;
  readonly monitor: Monitor;
  readonly window: Window;
  readonly incidents: Incidents;
}

/** From receipt of the newest heartbeat behind an opened alert to its acknowledgement. */
export function alertLatency(metrics: Metrics): Histogram {
  return metrics.histogram(
    "twofold_live_alert_latency_seconds",
    "From receipt of the newest heartbeat behind an opened alert to its acknowledgement",
    LATENCY_BOUNDS_SECONDS,
  );
}

/** Shows the figures of `live`. */
export function showLive(metrics: Metrics, live: LiveParts): void {
  showReading(metrics, live);
  const { monitor, window, incidents } = live;
  metrics.counterOf(
    "twofold_live_late_total",
    "Heartbeats later than the window, left out",
    () => monitor.late,
  );
  metrics.counterOf(
    "twofold_live_evicted_keys_total",
    "Titles × regions without room",
    () => window.evictedKeys,
  );
  metrics.counterOf(
    "twofold_live_rewinds_total",
    "Times the window started again because event time had run ahead",
    () => window.rewinds,
  );
  metrics.gaugeOf("twofold_live_keys", "Titles × regions in the window", () => window.keys);
  metrics.gaugeOf(
    "twofold_live_open_alerts",
    "Open rebuffer incidents",
    () => incidents.rebufferKeys.length,
  );
  metrics.gaugeOf(
    "twofold_live_watermark_seconds",
    "Event time that the window ends at, seconds since the epoch",
    () => window.watermarkMs / 1_000,
  );
}

function showReading(metrics: Metrics, { readers, copies }: LiveParts): void {
  const total = (of: (reader: Reader) => number) => () =>
    readers.reduce((sum, reader) => sum + of(reader), 0);
  metrics.counterOf(
    "twofold_live_events_total",
    "Heartbeats read, valid or not",
    total(({ events }) => events),
  );
  metrics.counterOf(
    "twofold_live_rejected_total",
    "Heartbeats that cannot be used",
    total(({ rejected }) => rejected),
  );
  metrics.counterOf(
    "twofold_live_redelivered_total",
    "Deliveries skipped as repeated",
    total(({ redelivered }) => redelivered),
  );
  metrics.counterOf(
    "twofold_live_acks_overtaken_total",
    "Rejects acknowledged before their copy, so that delivery would not stop",
    total(({ overtaken }) => overtaken),
  );
  metrics.counterOf(
    "twofold_live_quarantine_copies_total",
    "Rejects copied to the quarantine, or given up and left to royalty",
    () => [[{ outcome: "made" }, copies.made], [{ outcome: "given_up" }, copies.givenUp]] as const,
    ["outcome"],
  );
  metrics.gaugeOf(
    "twofold_live_lag_events",
    "Heartbeats not yet delivered to live, per stream",
    () => readers.map((reader) => [{ stream: reader.stream }, reader.lag] as const),
    ["stream"],
  );
}
