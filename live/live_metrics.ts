/**
 * Metrics of live. On the hot path counters are plain numbers, which are read at each scrape.
 *
 * @module
 */
import type { Reject } from "../shared/contract/quarantine.ts";
import type { Histogram, Metrics } from "../shared/process/metrics.ts";
import { registerAudienceMetrics } from "./audience_metrics.ts";
import type { BaselinesStore } from "./incidents/baselines_store.ts";
import type { Decider } from "./incidents/decider.ts";
import type { Leadership } from "./leadership.ts";
import type { ObservationFeed } from "./sharing/observation_feed.ts";
import type { Timeline } from "./sharing/timeline.ts";
import type { Copies } from "./watch/copies.ts";
import type { Reader } from "./watch/reader.ts";

/** Bucket bounds around the target of 5 s and the hard limit of 30 s. */
const LATENCY_BOUNDS_SECONDS = [0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 20, 30, 60];
/** Bucket bounds around the target of 5 ms and the limit of 50 ms. */
const EVALUATION_BOUNDS_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
/** Bucket bounds of the time that viewers stalled before on-call knew; 30 s is the hard limit. */
const DETECTION_BOUNDS_SECONDS = [1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 120, 300];

/** The parts of live that have metrics. */
export interface LiveParts {
  readonly readers: readonly Reader[];
  readonly copies: Copies<Reject>;
  readonly decider: Decider;
  readonly leadership: Pick<Leadership, "isLeading">;
  readonly timeline: Timeline;
  readonly feed: Pick<ObservationFeed, "unreadable">;
  readonly store: BaselinesStore;
}

/** Registers the histograms, which are fed as things happen. */
export function liveHistograms(
  metrics: Metrics,
): {
  readonly latency: Histogram;
  readonly detection: Histogram;
  readonly evaluation: Histogram;
} {
  return {
    latency: metrics.histogram(
      "twofold_live_alert_latency_seconds",
      "Time from receipt of the newest heartbeat behind an opened alert to its acknowledgement",
      LATENCY_BOUNDS_SECONDS,
    ),
    detection: metrics.histogram(
      "twofold_live_detection_seconds",
      "Time from the first impaired second of an incident to the acknowledgement of its alert",
      DETECTION_BOUNDS_SECONDS,
    ),
    evaluation: metrics.histogram(
      "twofold_live_evaluation_seconds",
      "Time to decide about a second",
      EVALUATION_BOUNDS_SECONDS,
    ),
  };
}

/** Registers the other metrics of live. */
export function registerLiveMetrics(metrics: Metrics, live: LiveParts): void {
  registerReaderMetrics(metrics, live);
  registerSessionMetrics(metrics, live);
  registerCellMetrics(metrics, live);
  registerSharingMetrics(metrics, live);
  const { decider } = live;
  registerAudienceMetrics(metrics, {
    detector: () => decider.detector,
    monotonicMs: decider.options.monotonicMs,
  });
  metrics.gaugeOf(
    "twofold_live_open_incidents",
    "Open incidents: with a subject of their own, or withheld because too many opened at once",
    () =>
      [
        [{ subject: "own" }, decider.incidents?.openCount ?? 0],
        [{ subject: "withheld" }, decider.incidents?.withheldCount ?? 0],
      ] as const,
    ["subject"],
  );
  metrics.counterOf(
    "twofold_live_rewinds_total",
    "Restarts of detection because the clock of a stream went back",
    () => decider.rewinds,
  );
  metrics.gaugeOf(
    "twofold_live_decided_seconds",
    "Receipt time up to which is decided, seconds since the epoch; 0 before the first decision",
    () => Number.isFinite(decider.decidedMs) ? decider.decidedMs / 1_000 : 0,
  );
}

function registerSharingMetrics(
  metrics: Metrics,
  { decider, leadership, readers, timeline, feed }: LiveParts,
): void {
  metrics.gaugeOf(
    "twofold_live_leader",
    "1 if this process tells what it finds, 0 if it stands by",
    () => Number(leadership.isLeading),
  );
  metrics.gaugeOf(
    "twofold_live_partitions",
    "Streams that this process reads",
    () => readers.filter(({ isReading }) => isReading).length,
  );
  metrics.gaugeOf(
    "twofold_live_lag_seconds",
    "How old the newest heartbeat read is while others wait, by receipt, per stream",
    () => timeline.lanes.map(({ stream, lagMs }) => [{ stream }, lagMs / 1_000] as const),
    ["stream"],
  );
  metrics.gaugeOf(
    "twofold_live_coverage_ratio",
    "Share of the heartbeats of the last 20 s that was seen",
    () => decider.coverage,
  );
  metrics.counterOf(
    "twofold_live_skipped_total",
    "Heartbeats that this process skipped because it was too far behind, per stream",
    () => readers.map(({ stream, skipped }) => [{ stream }, skipped] as const),
    ["stream"],
  );
  metrics.counterOf(
    "twofold_live_unreadable_observations_total",
    "Messages of OBSERVATIONS that are no batch",
    () => feed.unreadable,
  );
}

function registerSessionMetrics(metrics: Metrics, { decider }: LiveParts): void {
  const counters = () => decider.detector.counters;
  metrics.gaugeOf("twofold_live_sessions", "Viewer sessions that watch", () => counters().sessions);
  metrics.counterOf(
    "twofold_live_sessions_gone_total",
    "Viewer sessions that left: they said so, stopped to report, never showed a frame (of those " +
      "that stopped), or made room for others at TWOFOLD_LIVE_MAX_SESSIONS",
    () => {
      const { ended, expired, neverStarted, evicted } = counters();
      return [
        [{ how: "ended" }, ended],
        [{ how: "expired" }, expired - neverStarted],
        [{ how: "never_started" }, neverStarted],
        [{ how: "evicted" }, evicted],
      ] as const;
    },
    ["how"],
  );
  metrics.counterOf(
    "twofold_live_no_evidence_total",
    "Heartbeats that say nothing about now: late, copies, or from a clock that has yet to show " +
      "that it runs",
    () => {
      const { late, copies, unconfirmed, held } = counters();
      return [
        [{ why: "late" }, late],
        [{ why: "copy" }, copies],
        [{ why: "unconfirmed_clock" }, unconfirmed],
        [{ why: "held_back" }, held],
      ] as const;
    },
    ["why"],
  );
  metrics.counterOf(
    "twofold_live_odd_sessions_total",
    "Sessions that changed title, region or another dimension, or counted anew",
    () => {
      const { moved, restarted } = counters();
      return [[{ what: "moved" }, moved], [{ what: "seq_went_back" }, restarted]] as const;
    },
    ["what"],
  );
}

function registerCellMetrics(metrics: Metrics, { decider, store }: LiveParts): void {
  const counters = () => decider.detector.counters;
  metrics.gaugeOf("twofold_live_cells", "Cells with viewers or baselines", () => counters().cells);
  metrics.gaugeOf(
    "twofold_live_loaded_baselines",
    "Cells whose baselines were loaded at the start; 0 means that live began to learn anew",
    () => store.loaded,
  );
  metrics.counterOf(
    "twofold_live_full_total",
    "What did not fit: sessions not counted in a cell, values counted as _other, values that made " +
      "room for one with more viewers, incidents not opened",
    () => {
      const { refusedCells, otherValues, displacedValues, refusedIncidents } = counters();
      return [
        [{ what: "cell" }, refusedCells],
        [{ what: "value" }, otherValues],
        [{ what: "displaced_value" }, displacedValues],
        [{ what: "incident" }, refusedIncidents],
      ] as const;
    },
    ["what"],
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
    "twofold_live_lag_messages",
    "Messages not yet delivered to live, per stream",
    () => readers.map((reader) => [{ stream: reader.stream }, reader.lag] as const),
    ["stream"],
  );
}
