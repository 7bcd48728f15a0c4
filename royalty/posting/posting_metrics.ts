/**
 * Prometheus metrics of posting.
 *
 * What the books hold are gauges, exported by the process that leads the stream. What this process
 * did are counters, which start at zero with the process.
 *
 * @module
 */
import type { Achieved } from "../../shared/contract/pulse.ts";
import type { Counter, Histogram, Metrics } from "../../shared/process/metrics.ts";
import type { Position } from "../books/accounts.ts";

const OUTCOMES = {
  counted: (position: Position) => position.counted,
  duplicate: (position: Position) => position.duplicates,
  quarantined: (position: Position) => position.quarantined,
  canary: (position: Position) => position.canaries,
  gap: (position: Position) => position.gaps,
} as const;
type PostingOutcome = keyof typeof OUTCOMES;
const OUTCOME_NAMES: readonly PostingOutcome[] = [
  "counted",
  "duplicate",
  "quarantined",
  "canary",
  "gap",
];

/** The metrics of all streams that this process may lead. */
export class PostingMetrics {
  readonly #events: Counter<"stream" | "outcome">;
  readonly #creditedSeconds: Counter<"stream">;
  readonly #batchEvents: Histogram<"stream">;
  readonly #batchSeconds: Histogram<"stream">;
  /** Positions of the streams that this process leads, by stream. */
  readonly #positions = new Map<string, Position>();
  readonly #lags = new Map<string, number>();
  readonly #limits = new Map<string, { readonly events: number }>();
  #posted = 0;

  constructor(metrics: Metrics, readonly streams: readonly string[]) {
    this.#events = metrics.counter(
      "twofold_royalty_events_total",
      "Sequences that this process posted, by outcome",
      ["stream", "outcome"],
    );
    this.#creditedSeconds = metrics.counter(
      "twofold_royalty_credited_seconds_total",
      "Viewing time that this process credited",
      ["stream"],
    );
    this.#batchEvents = metrics.histogram(
      "twofold_royalty_batch_events",
      "Events in one transaction",
      [1, 10, 100, 1_000, 5_000, 10_000, 20_000, 50_000],
      ["stream"],
    );
    this.#batchSeconds = metrics.histogram(
      "twofold_royalty_batch_seconds",
      "Time from a judged batch to its commit",
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      ["stream"],
    );
    for (const stream of streams) {
      this.#creditedSeconds.inc({ stream }, 0);
      for (const outcome of OUTCOME_NAMES) this.#events.inc({ stream, outcome }, 0);
    }
    this.#showBooks(metrics);
    this.#showStreams(metrics);
  }

  /** This process leads the stream of `position`, which is its position in the books. */
  leading(position: Position): void {
    this.#positions.set(position.stream, position);
  }

  /** This process does not lead `stream`, so its position is not exported. */
  notLeading(stream: string): void {
    this.#positions.delete(stream);
  }

  /** A batch of `events` moved the books from `before` to `after` in `seconds`. */
  posted(before: Position, after: Position, events: number, seconds: number): void {
    const { stream } = after;
    for (const outcome of OUTCOME_NAMES) {
      const read = OUTCOMES[outcome];
      this.#events.inc({ stream, outcome }, read(after) - read(before));
    }
    this.#creditedSeconds.inc({ stream }, Number(after.creditedMs - before.creditedMs) / 1_000);
    this.#posted += events;
    this.#batchEvents.observe({ stream }, events);
    this.#batchSeconds.observe({ stream }, seconds);
    this.leading(after);
  }

  /** The batches of `stream` have at most so many events. */
  batchLimit(stream: string, limit: { readonly events: number }): void {
    this.#limits.set(stream, limit);
  }

  /** What this process has posted, and what waits; for its pulse. */
  get achieved(): Achieved {
    const isKnown = this.#lags.size === this.streams.length;
    const waiting = [...this.#lags.values()].reduce((sum, lag) => sum + lag, 0);
    return { progress: this.#posted, waiting: isKnown ? waiting : null };
  }

  /** Sets the lag of `stream`; undefined when NATS did not answer. */
  lag(stream: string, events: number | undefined): void {
    if (events === undefined) this.#lags.delete(stream);
    else this.#lags.set(stream, events);
  }

  #showBooks(metrics: Metrics): void {
    metrics.gaugeOf(
      "twofold_royalty_books_events",
      "Sequences accounted for in the books, by outcome; exported by the leader of the stream",
      () =>
        [...this.#positions.values()].flatMap((position) =>
          OUTCOME_NAMES.map((outcome) =>
            [{ stream: position.stream, outcome }, OUTCOMES[outcome](position)] as const
          )
        ),
      ["stream", "outcome"],
    );
    metrics.gaugeOf(
      "twofold_royalty_books_credited_seconds",
      "Viewing time credited in the books; exported by the leader of the stream",
      () =>
        [...this.#positions.values()].map(({ stream, creditedMs }) =>
          [{ stream }, Number(creditedMs) / 1_000] as const
        ),
      ["stream"],
    );
  }

  #showStreams(metrics: Metrics): void {
    metrics.gaugeOf(
      "twofold_royalty_leader",
      "1 if this process leads the stream, 0 if it stands by",
      () =>
        this.streams.map((stream) => [{ stream }, this.#positions.has(stream) ? 1 : 0] as const),
      ["stream"],
    );
    metrics.gaugeOf(
      "twofold_royalty_batch_limit_events",
      "Events that one transaction may have; fewer than the setting after a failure of Postgres",
      () => [...this.#limits].map(([stream, { events }]) => [{ stream }, events] as const),
      ["stream"],
    );
    metrics.gaugeOf(
      "twofold_royalty_lag_messages",
      "Messages not acknowledged yet, read from NATS every 2 seconds; absent while NATS does not answer",
      () => [...this.#lags].map(([stream, events]) => [{ stream }, events] as const),
      ["stream"],
    );
  }
}
