/**
 * Metrics of live. On the hot path counters are plain numbers, which are read at each scrape.
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

/** Bucket bounds around the target of 5 s and the hard limit of 30 s. */
const LATENCY_BOUNDS_SECONDS = [0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 20, 30, 60];

/** The parts of live that have metrics. */
export interface LiveParts {
  readonly readers: readonly Reader[];
  readonly copies: Copies<Reject>;
  readonly monitor: Monitor;
  readonly window: Window;
  readonly incidents: Incidents;
}

/** Registers the latency from receipt of a heartbeat to the alert that it opened, in seconds. */
export function alertLatencyHistogram(metrics: Metrics): Histogram {
  return metrics.histogram(
    "twofold_live_alert_latency_seconds",
    "Time from receipt of the newest heartbeat behind an opened alert to its acknowledgement",
    LATENCY_BOUNDS_SECONDS,
  );
}

/** Registers the other metrics of live. */
export function registerLiveMetrics(metrics: Metrics, live: LiveParts): void {
  registerReaderMetrics(metrics, live);
  const { monitor, window, incidents } = live;
  metrics.counterOf(
    "twofold_live_late_total",
    "Heartbeats later than the window, left out",
    () => monitor.late,
  );
  metrics.counterOf(
    "twofold_live_evicted_keys_total",
    "Titles × regions evicted because TWOFOLD_LIVE_MAX_KEYS was reached",
    () => window.evictedKeys,
  );
  metrics.counterOf(
    "twofold_live_rewinds_total",
    "Resets of the window because event time had run ahead",
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
    "Event time at the end of the window, seconds since the epoch",
    () => window.watermarkMs / 1_000,
  );
}

function registerReaderMetrics(metrics: Metrics, { readers, copies }: LiveParts): void {
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
    "Deliveries skipped because this process had handled them",
    total(({ redelivered }) => redelivered),
  );
  metrics.counterOf(
    "twofold_live_acks_overtaken_total",
    "Rejected heartbeats acknowledged before their copy, so that delivery continues",
    total(({ overtaken }) => overtaken),
  );
  metrics.counterOf(
    "twofold_live_quarantine_copies_total",
    "Rejected heartbeats copied to the quarantine, or given up and left to royalty",
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
