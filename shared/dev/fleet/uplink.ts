/**
 * What happens between a player and the edge: delay, overtaking, lateness, retries.
 *
 * Pure and seeded; times are ms since the start of the run.
 *
 * @module
 */
import type { Send, Tick } from "./player.ts";
import type { Random } from "../testing/random.ts";

/** Things due at some time, taken out tick by tick. Holds only what is still to come. */
export class Calendar<T> {
  readonly #ticks = new Map<number, T[]>();
  #next = 0;

  constructor(readonly tickMs: number) {}

  /** Throws a `RangeError` when that tick is over: the item would never be taken. */
  add(atMs: number, item: T): void {
    const tick = Math.floor(atMs / this.tickMs);
    if (tick < this.#next) throw new RangeError(`${atMs} ms is over`);
    const items = this.#ticks.get(tick);
    if (items) items.push(item);
    else this.#ticks.set(tick, [item]);
  }

  /**
   * Yields and removes what is due in `[tick * tickMs, (tick + 1) * tickMs)`, also what is added
   * while it is being iterated.
   */
  *take(tick: number): Generator<T> {
    yield* this.#ticks.get(tick) ?? [];
    this.#ticks.delete(tick);
    this.#next = tick + 1;
  }
}

/** Shares are probabilities, 0 to 1. */
export interface UplinkOptions {
  /** Shortest and longest ordinary delay. */
  readonly delayMs: readonly [number, number];
  /** Events sent again byte-identically although they had arrived. */
  readonly retryShare: number;
  /** Of those, the ones sent again only after the stream has forgotten the first copy. */
  readonly longRetryShare: number;
  /** The stream's duplicate window. */
  readonly duplicateWindowMs: number;
  /** Events held back 2 to 14 s, so that later ones of their session overtake them. */
  readonly reorderedShare: number;
  /** Events held back up to {@link lateMaxMs}. */
  readonly lateShare: number;
  readonly lateMaxMs: number;
}

export const DEFAULT_UPLINK: UplinkOptions = {
  delayMs: [20, 300],
  retryShare: 0.05,
  longRetryShare: 0.4,
  duplicateWindowMs: 120_000,
  reorderedShare: 0.06,
  lateShare: 0.01,
  lateMaxMs: 180_000,
};

/** Every event arrives at once, in order. */
export const PERFECT_UPLINK: UplinkOptions = {
  ...DEFAULT_UPLINK,
  delayMs: [0, 0],
  retryShare: 0,
  reorderedShare: 0,
  lateShare: 0,
};

/** How long after the duplicate window a copy is sure to be stored again. */
export function surelyForgottenMs(duplicateWindowMs: number): number {
  return duplicateWindowMs * 1.2 + 1_000;
}

/** Delays and repeats the sends it is given, never past the end of the run. */
export class Uplink {
  readonly #calendar: Calendar<Send>;

  constructor(
    private readonly random: Random,
    private readonly options: UplinkOptions,
    private readonly endMs: number,
    tickMs: number,
  ) {
    this.#calendar = new Calendar(tickMs);
  }

  /** Takes a send that the player makes at `send.sendAtMs`. */
  accept(send: Send): void {
    const delayedMs = send.sendAtMs + this.#delayMs();
    // What would leave after the end leaves some time before it, not all of it at the end.
    const sendAtMs = delayedMs <= this.endMs
      ? delayedMs
      : this.random.int(send.sendAtMs, this.endMs);
    this.#calendar.add(sendAtMs, { ...send, sendAtMs });
    // A malformed event sent again beyond the window would be a second entry in quarantine.
    if (send.kind !== "fresh" || !this.random.chance(this.options.retryShare)) return;
    const againAtMs = sendAtMs + this.#retryAfterMs(sendAtMs);
    if (againAtMs > this.endMs) return;
    this.#calendar.add(againAtMs, { ...send, kind: "retry", sendAtMs: againAtMs });
  }

  /** Takes a send that leaves at exactly `send.sendAtMs`. */
  acceptExact(send: Send): void {
    this.#calendar.add(send.sendAtMs, send);
  }

  /** What is sent in tick number `tick`. */
  tick(tick: number): Tick {
    const { tickMs } = this.#calendar;
    const sends = [...this.#calendar.take(tick)].sort((a, b) => a.sendAtMs - b.sendAtMs);
    return { atMs: (tick + 1) * tickMs, sends };
  }

  #delayMs(): number {
    const { random, options } = this;
    const kind = random.next();
    if (kind < options.lateShare) return random.int(0, options.lateMaxMs);
    if (kind < options.lateShare + options.reorderedShare) return random.int(2_000, 14_000);
    return random.int(...options.delayMs);
  }

  #retryAfterMs(sentAtMs: number): number {
    const { random, options: { duplicateWindowMs, longRetryShare } } = this;
    const forgottenMs = Math.ceil(surelyForgottenMs(duplicateWindowMs)) + 1_000;
    const long = random.chance(longRetryShare) && sentAtMs + forgottenMs <= this.endMs;
    if (!long) return random.int(200, Math.max(200, Math.floor(duplicateWindowMs / 4)));
    const latestMs = Math.min(2 * forgottenMs, this.endMs - sentAtMs);
    return random.int(forgottenMs, Math.max(forgottenMs, latestMs));
  }
}
