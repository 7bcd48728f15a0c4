/**
 * What time it is by receipts: the clock of the stream, not that of this process, which may be
 * wrong without harm.
 *
 * The newest receipt is a time that has certainly come. From there the clock runs on, by a
 * monotonic clock, but no further than {@link MAX_UNPROVED_MS} past the last proof that no older
 * heartbeat waits: otherwise, after a pause of this process or behind a backlog, everybody would
 * seem to have stopped sending. It never runs ahead of the stream's clock, because a heartbeat is
 * heard after its receipt.
 *
 * Pure: the caller passes a monotonic clock. Receipts are ms since the epoch.
 *
 * @module
 */

/** Time that the clock runs on after a proof; proofs come every two seconds. */
const MAX_UNPROVED_MS = 3_000;
/** A stream this far behind what was decided without it is not waited for. */
const MAX_BEHIND_MS = 5_000;

/** The receipt time of one stream. */
export class ReceiptClock {
  #receivedMs: number | undefined;
  /** Monotonic time of hearing it. */
  #heardMs = -Infinity;
  #provedMs = -Infinity;
  #isFromServer = false;

  /** Notes the receipt of a heartbeat that is handled now. */
  heard(receivedMs: number, monotonicMs: number): void {
    this.#receivedMs = receivedMs;
    this.#heardMs = monotonicMs;
    this.#isFromServer = false;
  }

  /**
   * Notes that at `monotonicMs` every heartbeat had been handled, and what the server's clock said
   * a moment later, which counts until the first heartbeat.
   */
  proved(monotonicMs: number, serverMs = Number.NaN): void {
    if (monotonicMs > this.#provedMs) this.#provedMs = monotonicMs;
    if (Number.isNaN(serverMs)) return;
    if (this.#receivedMs !== undefined && !this.#isFromServer) return;
    this.heard(serverMs, monotonicMs);
    this.#isFromServer = true;
  }

  /** The time up to which everything was heard; undefined before anything is known. */
  nowMs(monotonicMs: number): number | undefined {
    if (this.#receivedMs === undefined) return undefined;
    const untilMs = Math.min(monotonicMs, this.#provedMs + MAX_UNPROVED_MS);
    return this.#receivedMs + Math.max(0, untilMs - this.#heardMs);
  }

  /** What the stream's clock shows now, if nothing is on its way: for latencies, not decisions. */
  estimateMs(monotonicMs: number): number | undefined {
    if (this.#receivedMs === undefined) return undefined;
    return this.#receivedMs + Math.max(0, monotonicMs - this.#heardMs);
  }
}

/**
 * The time up to which all streams were heard: that of the slowest, but of no stream that comes back
 * from before `decidedMs`, the time that was decided about without it. Undefined without streams.
 */
export function commonTimeMs(timesMs: readonly number[], decidedMs: number): number | undefined {
  const waitedFor = timesMs.filter((ms) => ms >= decidedMs - MAX_BEHIND_MS);
  const slowest = Math.min(...(waitedFor.length > 0 ? waitedFor : timesMs));
  return Number.isFinite(slowest) ? slowest : undefined;
}
