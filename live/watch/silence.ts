/**
 * Whether heartbeats arrive at all: their absence is news, not health.
 *
 * Pure: the caller passes the time, in ms of any clock that only goes forward.
 *
 * @module
 */

/** Watches for heartbeats that stop coming, once some have come. */
export class Silence {
  #heardMs?: number;

  /** `open` when an earlier process found silence and nothing has been heard since. */
  constructor(readonly afterMs: number, public open = false) {}

  /** Heartbeats came, or had come before this process began. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs;
  }

  /** What changed: silence began, or ended. */
  check(nowMs: number): "opened" | "resolved" | undefined {
    if (this.#heardMs === undefined) return undefined;
    const silent = nowMs - this.#heardMs >= this.afterMs;
    if (silent === this.open) return undefined;
    this.open = silent;
    return silent ? "opened" : "resolved";
  }
}
