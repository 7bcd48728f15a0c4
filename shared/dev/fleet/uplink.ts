/**
 * The network between a player and the edge: delay, reordering, lateness, retries.
 *
 * Pure and seeded; times are ms since the start of the run.
 *
 * @module
 */
import type { Send, Tick } from "./player.ts";
import type { Random } from "../testing/random.ts";

/** Items that are due at a time, taken tick by tick. Holds pending items only. */
export class Calendar<T> {
  readonly #ticks = new Map<number, T[]>();
  #next = 0;

  constructor(readonly tickMs: number) {}

  /** Throws a `RangeError` when that tick was taken before. */
  add(atMs: number, item: T): void {
    const tick = Math.floor(atMs / this.tickMs);
    if (tick < this.#next) throw new RangeError(`the tick of ${atMs} ms was taken before`);
    const items = this.#ticks.get(tick);
    if (items) items.push(item);
    else this.#ticks.set(tick, [item]);
  }

  /**
   * Yields and removes what is due in `[tick * tickMs, (tick + 1) * tickMs)`, including what is
   * added during the iteration.
   */
  *take(tick: number): Generator<T> {
    yield* this.#ticks.get(tick) ?? [];
    this.#ticks.delete(tick);
    this.#next = tick + 1;
  }
}

/** Shares are probabilities, 0 to 1. */
export interface UplinkOptions {
  /** Minimum and maximum of the ordinary delay, ms. */
  readonly delayMs: readonly [number, number];
  /** Events that are sent again byte by byte although they arrived. */
  readonly retryShare: number;
  /** Of those, the ones that are sent again after the duplicate window. */
  readonly longRetryShare: number;
  /** The stream's duplicate window. */
  readonly duplicateWindowMs: number;
  /** Events delayed by 2 to 14 s, so that they arrive after later ones of their session. */
  readonly reorderedShare: number;
  /** Events delayed by up to {@link lateMaxMs}. */
  readonly lateShare: number;
  readonly lateMaxMs: number;
}

/** An imperfect network. */
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

/** Minimum time between two copies after which the stream stores the second, ms. */
export function forgottenAfterMs(duplicateWindowMs: number): number {
  return duplicateWindowMs * 1.2 + 1_000;
}

/** Delays and repeats sends, never beyond the end of the run. */
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

  /** Takes a send of the player at `send.sendAtMs`, and delays it. */
  accept(send: Send): void {
    const delayedMs = send.sendAtMs + this.#delayMs();
    // What would be sent after the end is spread over the time before it.
    const sendAtMs = delayedMs <= this.endMs
      ? delayedMs
      : this.random.int(send.sendAtMs, this.endMs);
    this.#calendar.add(sendAtMs, { ...send, sendAtMs });
    // A malformed event sent again after the window would be a second entry in quarantine.
    if (send.kind !== "fresh" || !this.random.chance(this.options.retryShare)) return;
    const againAtMs = sendAtMs + this.#retryAfterMs(sendAtMs);
    if (againAtMs > this.endMs) return;
    this.#calendar.add(againAtMs, { ...send, kind: "retry", sendAtMs: againAtMs });
  }

  /** Takes a send that is not delayed. */
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
    const forgottenMs = Math.ceil(forgottenAfterMs(duplicateWindowMs)) + 1_000;
    const long = random.chance(longRetryShare) && sentAtMs + forgottenMs <= this.endMs;
    if (!long) return random.int(200, Math.max(200, Math.floor(duplicateWindowMs / 4)));
    const latestMs = Math.min(2 * forgottenMs, this.endMs - sentAtMs);
    return random.int(forgottenMs, Math.max(forgottenMs, latestMs));
  }
}
