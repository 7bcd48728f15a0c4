/**
 * Rates: what may be sent in a second, with a burst (the generic cell rate algorithm, ITU-T I.371).
 *
 * A share is one number: the time until which it is spent. Time alone gives back what was spent, so
 * nothing has to be swept. Pure. Times are monotonic, in ms.
 *
 * @module
 */

/** What may be spent: `perSecond`, and `burst` at once. 0 a second means no limit. */
export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

/** Shares of one rate, by index; each is spent on its own. */
export class RateShares {
  readonly #spentUntilMs: Float64Array;
  readonly #msPerUnit: number;
  readonly #burstMs: number;

  constructor(count: number, { perSecond, burst }: RateLimit) {
    this.#spentUntilMs = new Float64Array(count);
    this.#msPerUnit = perSecond === 0 ? 0 : 1_000 / perSecond;
    this.#burstMs = burst * this.#msPerUnit;
  }

  /** Spends `units` of the share `index` and returns 0, or spends nothing and returns the wait in ms. */
  spend(index: number, units: number, nowMs: number): number {
    const waitMs = this.waitMs(index, units, nowMs);
    if (waitMs === 0) this.take(index, units, nowMs);
    return waitMs;
  }

  /** What {@link spend} would return; spends nothing. */
  waitMs(index: number, units: number, nowMs: number): number {
    const waitMs = this.#spentMs(index, units, nowMs) - this.#burstMs;
    // A rounding error must not refuse a burst that fits exactly.
    return waitMs > 1e-6 ? Math.ceil(waitMs) : 0;
  }

  /** Spends `units`, or all that is left. */
  take(index: number, units: number, nowMs: number): void {
    const spentMs = Math.min(this.#spentMs(index, units, nowMs), this.#burstMs);
    this.#spentUntilMs[index] = nowMs + spentMs;
  }

  /** Whether more than half of the burst is spent. */
  isShort(index: number, nowMs: number): boolean {
    return this.#spentMs(index, 0, nowMs) * 2 > this.#burstMs;
  }

  /** Gives back what {@link spend} has spent. */
  giveBack(index: number, units: number): void {
    this.#spentUntilMs[index] = (this.#spentUntilMs[index] ?? 0) - units * this.#msPerUnit;
  }

  // How far ahead of now the share is spent, with `units` more.
  #spentMs(index: number, units: number, nowMs: number): number {
    const spentUntilMs = Math.max(this.#spentUntilMs[index] ?? 0, nowMs);
    return spentUntilMs - nowMs + units * this.#msPerUnit;
  }
}
