/**
 * Rate limits of device fleets.
 *
 * Pure: the caller passes the time.
 *
 * @module
 */

/** One token bucket per fleet: it refills at `perSecond` and holds at most `burst` events. */
export class FleetLimits {
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>();

  /** `perSecond` and `burst` are in events; a `perSecond` of 0 means no limit. */
  constructor(readonly perSecond: number, readonly burst: number) {}

  /** Takes `events` tokens and returns 0, or takes none and returns the time to wait, in ms. */
  take(fleet: string, events: number, nowMs: number): number {
    if (this.perSecond === 0) return 0;
    const bucket = this.#buckets.get(fleet) ?? { tokens: this.burst, atMs: nowMs };
    this.#buckets.set(fleet, bucket);
    const gained = Math.max(0, nowMs - bucket.atMs) * this.perSecond / 1000;
    bucket.tokens = Math.min(this.burst, bucket.tokens + gained);
    bucket.atMs = nowMs;
    const missing = events - bucket.tokens;
    if (missing > 0) return Math.ceil(missing * 1000 / this.perSecond);
    bucket.tokens -= events;
    return 0;
  }
}
