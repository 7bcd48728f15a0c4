/**
 * Tells when live is behind: when it begins, what was skipped, and when it is over.
 *
 * Pure. Times are ms of a monotonic clock.
 *
 * @module
 */

/** Lag of live beyond which on-call is told, in ms of receipt. */
export const MAX_TOLD_LAG_MS = 5_000;
/** Time without lag and without a skip after which it is over. */
const OVER_MS = 30_000;

/** How far live is behind. */
export interface LagNow {
  /** Of the stream that is furthest behind, ms of receipt, and its name. */
  readonly lagMs: number;
  readonly stream: string;
  /** Heartbeats skipped since the start, of all streams. */
  readonly skipped: number;
  /** Share of the heartbeats seen, 0 to 1. */
  readonly coverage: number;
}

/** A change to tell, and its words. */
export interface LagChange {
  readonly change: "opened" | "resolved";
  readonly summary: string;
  /** The lag, ms. */
  readonly value: number;
}

/** Watches the lag of live. */
export class LagWatch {
  #skipped: number | undefined;
  #skippedBefore = 0;
  #badMs = -Infinity;

  /** @param isOpen Whether an earlier process has told a lag that is not over. */
  constructor(public isOpen = false) {}

  /** Returns what to tell, if anything; call it every second. */
  check({ lagMs, stream, skipped, coverage }: LagNow, nowMs: number): LagChange | undefined {
    const before = this.#skipped ?? 0;
    this.#skipped = skipped;
    if (lagMs > MAX_TOLD_LAG_MS || skipped > before) this.#badMs = nowMs;
    const value = Math.round(lagMs);
    if (!this.isOpen) {
      if (this.#badMs !== nowMs) return undefined;
      this.isOpen = true;
      this.#skippedBefore = before;
      return { change: "opened", value, summary: told(lagMs, stream, skipped - before, coverage) };
    }
    // Found open by a process that has just begun.
    if (this.#badMs === -Infinity) this.#badMs = nowMs;
    if (nowMs - this.#badMs < OVER_MS) return undefined;
    this.isOpen = false;
    const count = skipped - this.#skippedBefore;
    return {
      change: "resolved",
      value,
      summary: `live is up to date again; it skipped ${count} heartbeats`,
    };
  }
}

function told(lagMs: number, stream: string, skipped: number, coverage: number): string {
  const seen = `it sees ${Math.round(coverage * 100)} % of the heartbeats`;
  if (skipped > 0) {
    return `live was too far behind and jumped to now: it skipped ${skipped} heartbeats; ${seen}`;
  }
  return `live is ${Math.round(lagMs / 1_000)} s behind on ${stream}; ${seen}`;
}
