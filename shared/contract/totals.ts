/**
 * Totals of one reader of a HEARTBEATS stream per interval. Live publishes its totals, and royalty
 * compares them with its own; no figure is computed from them.
 *
 * Intervals are of receipt, the clock of the stream, not of event time. All readers receive the
 * same messages in the same order, and each knows when an interval is complete, however late the
 * heartbeats in it are. The totals of healthy readers are therefore exactly equal, without
 * tolerance.
 *
 * Pure. Instants and durations are in ms.
 *
 * @module
 */
import { z } from "zod";

/** A message on `totals.live.<stream>`: the totals of an interval. */
export const liveTotalsSchema = z.object({
  v: z.literal(1),
  stream: z.string().min(1),
  interval_ms: z.int().min(1),
  /** Start of the interval, ms since the epoch, a multiple of `interval_ms`. */
  from: z.int().min(0),
  /**
   * Live read no usable heartbeat from this instant to `from`; equal to `from` if there is no gap.
   */
  quiet_since: z.int().min(0),
  /** Usable heartbeats read, including duplicates and late ones, and the sum of `played_ms`. */
  events: z.int().min(0),
  played_ms: z.int().min(0),
});

/** See {@link liveTotalsSchema}. */
export type LiveTotals = z.infer<typeof liveTotalsSchema>;

/** The totals of a finished interval; the fields are those of {@link LiveTotals}. */
export interface IntervalTotals {
  readonly from: number;
  readonly quietSinceMs: number;
  readonly events: number;
  readonly playedMs: number;
}

/** Totals one stream while it is read; reports each interval that was read from start to end. */
export class IntervalTally {
  // Both 0 until the first heartbeat.
  #from = 0;
  #until = 0;
  #quietSinceMs = 0;
  #isWhole = false;
  #events = 0;
  #playedMs = 0;

  constructor(
    readonly intervalMs: number,
    /** Called with each interval once a heartbeat of a later one is added. */
    readonly onFinished: (totals: IntervalTotals) => void,
  ) {}

  /** Adds a usable heartbeat received at `receivedAtMs`, in the order of the stream. */
  add(receivedAtMs: number, playedMs: number): void {
    // The clock of a new leader may be slightly behind; every reader counts that in the same
    // interval.
    if (receivedAtMs >= this.#until || receivedAtMs < this.#from - this.intervalMs) {
      this.#startInterval(receivedAtMs);
    }
    this.#events += 1;
    this.#playedMs += playedMs;
  }

  /** Discards the current interval, because heartbeats may have been missed. */
  interrupt(): void {
    this.#from = this.#until = 0;
  }

  #startInterval(receivedAtMs: number): void {
    // An interval is not whole if reading started inside it or the stream went back in time.
    const continues = this.#until > 0 && receivedAtMs >= this.#until;
    if (continues && this.#isWhole) {
      this.onFinished({
        from: this.#from,
        quietSinceMs: this.#quietSinceMs,
        events: this.#events,
        playedMs: this.#playedMs,
      });
    }
    this.#isWhole = continues;
    this.#quietSinceMs = this.#until;
    this.#from = Math.floor(receivedAtMs / this.intervalMs) * this.intervalMs;
    this.#until = this.#from + this.intervalMs;
    this.#events = this.#playedMs = 0;
  }
}
