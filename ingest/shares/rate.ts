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
    const spentMs = Math.max(this.#spentUntilMs[index] ?? 0, nowMs) + units * this.#msPerUnit;
    const waitMs = spentMs - nowMs - this.#burstMs;
    // A rounding error must not refuse a burst that fits exactly.
    if (waitMs > 1e-6) return Math.ceil(waitMs);
    this.#spentUntilMs[index] = spentMs;
    return 0;
  }

  /** Gives back what {@link spend} has spent. */
  giveBack(index: number, units: number): void {
    this.#spentUntilMs[index] = (this.#spentUntilMs[index] ?? 0) - units * this.#msPerUnit;
  }
}
