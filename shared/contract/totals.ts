/**
 * What one reader of a HEARTBEATS stream made of an interval of it. Live publishes its totals,
 * royalty compares them with its own; they inform and feed no figure.
 *
 * An interval is of receipt, the stream's own clock, not of event time. All readers meet the same
 * messages in the same order, and each knows when it has passed an interval, however late the
 * heartbeats in it are. So there is nothing to allow for: readers in good health agree exactly.
 *
 * Pure. Instants and durations in ms.
 *
 * @module
 */
import { z } from "zod";

/** A message on `totals.live.<stream>`: what live read of an interval. */
export const liveTotalsSchema = z.object({
  v: z.literal(1),
  stream: z.string().min(1),
  interval_ms: z.int().min(1),
  /** Start of the interval, ms since the epoch, a multiple of `interval_ms`. */
  from: z.int().min(0),
  /** Live met no usable heartbeat from here to `from`; `from` itself when the one before had some. */
  quiet_since: z.int().min(0),
  /** Usable heartbeats read, repetitions and late ones included, and their `played_ms`. */
  events: z.int().min(0),
  played_ms: z.int().min(0),
});

export type LiveTotals = z.infer<typeof liveTotalsSchema>;

/** A finished interval, as {@link LiveTotals} says it. */
export interface IntervalTotals {
  readonly from: number;
  readonly quietSince: number;
  readonly events: number;
  readonly playedMs: number;
}

/** Totals one stream while it is read; hands over each interval that was read from start to end. */
export class IntervalTally {
  // Both 0 until the first heartbeat.
  #from = 0;
  #until = 0;
  #quietSince = 0;
  #isWhole = false;
  #events = 0;
  #playedMs = 0;

  constructor(
    readonly intervalMs: number,
    readonly finished: (totals: IntervalTotals) => void,
  ) {}

  /** A usable heartbeat, received at `receivedAt`, in the order of the stream. */
  add(receivedAt: number, playedMs: number): void {
    // A new leader's clock may be a little behind; every reader books that to the same interval.
    if (receivedAt >= this.#until || receivedAt < this.#from - this.intervalMs) {
      this.#turn(receivedAt);
    }
    this.#events += 1;
    this.#playedMs += playedMs;
  }

  /** Heartbeats may have been missed here: the interval under way is given up. */
  interrupt(): void {
    this.#from = this.#until = 0;
  }

  #turn(receivedAt: number): void {
    // An interval joined on the way, or after the stream went back in time, is not whole.
    const continues = this.#until > 0 && receivedAt >= this.#until;
    if (continues && this.#isWhole) {
      this.finished({
        from: this.#from,
        quietSince: this.#quietSince,
        events: this.#events,
        playedMs: this.#playedMs,
      });
    }
    this.#isWhole = continues;
    this.#quietSince = this.#until;
    this.#from = Math.floor(receivedAt / this.intervalMs) * this.intervalMs;
    this.#until = this.#from + this.intervalMs;
    this.#events = this.#playedMs = 0;
  }
}
