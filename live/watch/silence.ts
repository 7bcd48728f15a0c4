/**
 * Detects that no heartbeat arrives at all. Absence of data is not health.
 *
 * Pure: the caller passes the time, in ms of a monotonic clock.
 *
 * @module
 */

/** Reports when no heartbeat has arrived for `afterMs`, after at least one has. */
export class SilenceDetector {
  #lastHeartbeatMs?: number;

  /** @param open Whether an earlier process has reported silence that has not ended. */
  constructor(readonly afterMs: number, public open = false) {}

  /** Notes that heartbeats arrived, or that some had arrived before this process started. */
  heartbeatSeen(nowMs: number): void {
    this.#lastHeartbeatMs = nowMs;
  }

  /** Returns the change since the last check: silence began, or ended; else undefined. */
  check(nowMs: number): "opened" | "resolved" | undefined {
    if (this.#lastHeartbeatMs === undefined) return undefined;
    const isSilent = nowMs - this.#lastHeartbeatMs >= this.afterMs;
    if (isSilent === this.open) return undefined;
    this.open = isSilent;
    return isSilent ? "opened" : "resolved";
  }
}
