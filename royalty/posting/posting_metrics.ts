/**
 * What royalty shows to Prometheus.
 *
 * @module
 */
import type { Metrics } from "../../shared/process/metrics.ts";
import type { Position } from "../books/accounts.ts";

/** Counters that follow the books, so that a restart or a takeover does not set them to zero. */
export class RoyaltyMetrics {
  readonly #events;
  readonly #creditedMs;
  readonly #lag;
  readonly #batchEvents;
  readonly #batchSeconds;
  readonly #positions = new Map<string, Position>();
  readonly #lagOf = new Map<string, number>();

  constructor(metrics: Metrics) {
    this.#events = metrics.counter(
      "twofold_royalty_events_total",
      "Sequences accounted for, by outcome, as the books have them",
    );
    this.#creditedMs = metrics.counter(
      "twofold_royalty_credited_ms_total",
      "Milliseconds credited, as the books have them",
    );
    this.#lag = metrics.gauge(
      "twofold_royalty_lag_events",
      "Messages that wait behind the last batch",
    );
    this.#batchEvents = metrics.histogram(
      "twofold_royalty_batch_events",
      "Events in one transaction",
      [1, 10, 100, 1_000, 5_000, 10_000, 20_000, 50_000],
    );
    this.#batchSeconds = metrics.histogram(
      "twofold_royalty_batch_seconds",
      "Time from a judged batch to its commit",
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    );
    this.#lag.set(0);
    this.#creditedMs.add(0);
    for (const outcome of OUTCOMES) this.#events.add(0, { outcome });
  }

  /** The books of a stream are at `position`. */
  at(position: Position): void {
    const before = this.#positions.get(position.stream);
    const grown = (read: (p: Position) => number) =>
      Math.max(0, read(position) - (before ? read(before) : 0));
    this.#events.add(grown((p) => p.counted), { outcome: "counted" });
    this.#events.add(grown((p) => p.duplicates), { outcome: "duplicate" });
    this.#events.add(grown((p) => p.quarantined), { outcome: "quarantined" });
    this.#events.add(grown((p) => p.gaps), { outcome: "gap" });
    this.#creditedMs.add(grown((p) => Number(p.creditedMs)));
    this.#positions.set(position.stream, position);
  }

  /** A batch was posted. */
  batch(events: number, seconds: number): void {
    this.#batchEvents.observe(events);
    this.#batchSeconds.observe(seconds);
  }

  /** `pending` messages of a stream wait behind the last batch. */
  lag(stream: string, pending: number): void {
    this.#lagOf.set(stream, pending);
    this.#lag.set([...this.#lagOf.values()].reduce((sum, each) => sum + each, 0));
  }
}

const OUTCOMES = ["counted", "duplicate", "quarantined", "gap"] as const;
