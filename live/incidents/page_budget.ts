/**
 * At most so many in any minute.
 *
 * Pure: the caller passes the time, which should not go back.
 *
 * @module
 */
const MINUTE_MS = 60_000;

/** Counts what was taken in the last minute. */
export class MinuteBudget {
  /** When each of the last minute was taken, ascending; at most `limit`. */
  #taken: number[] = [];

  constructor(readonly limit: number) {}

  /** Takes one at `nowMs` and says so, unless fewer than `reserve` would then be left. */
  take(nowMs: number, reserve = 0): boolean {
    this.#taken = this.#taken.filter((atMs) => nowMs - atMs < MINUTE_MS);
    if (this.#taken.length + reserve >= this.limit) return false;
    this.#taken.push(nowMs);
    return true;
  }

  /** Counts one that an earlier process took at `atMs`. */
  restore(atMs: number): void {
    if (this.#taken.length < this.limit) this.#taken.push(atMs);
  }
}
