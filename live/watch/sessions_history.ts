/**
 * What each session did in the last 60 s: its stalls as segments, its playing as two sums.
 *
 * A heartbeat says how long its interval stalled, not when, so a stall is taken as spread evenly
 * over the interval: of a stall s in an interval of d ms, the part within a span is
 * s · overlap / d. An interval reaches no further back than {@link REACH_MS}, so a heartbeat about
 * 600 s weighs as its last 60 s. Only intervals with a stall are kept, which few are; a seventh
 * within 60 s merges the oldest two.
 *
 * Times are ms modulo 2^32: only differences matter.
 *
 * @module
 */

/** How far back a heartbeat reaches, in ms. */
export const REACH_MS = 60_000;
/** Segments a session: heartbeats of 60 s at the nominal 10 s. */
const SEGMENTS = 6;
/** Length of the blocks that played time is summed in, in ms. */
const BLOCK_MS = 60_000;
const MAX_UINT16 = 0xffff;
const MAX_UINT32 = 0xffffffff;

/** Stalls and played time of all sessions, by row. */
export class History {
  readonly #endMs: Uint32Array;
  readonly #lengthMs: Uint16Array;
  readonly #stalledMs: Uint16Array;
  readonly #segments: Uint8Array;
  readonly #playedMs: Uint16Array;
  readonly #playedBefore: Uint16Array;
  readonly #block: Uint16Array;

  constructor(capacity: number) {
    this.#endMs = new Uint32Array(capacity * SEGMENTS);
    this.#lengthMs = new Uint16Array(capacity * SEGMENTS);
    this.#stalledMs = new Uint16Array(capacity * SEGMENTS);
    this.#segments = new Uint8Array(capacity);
    this.#playedMs = new Uint16Array(capacity);
    this.#playedBefore = new Uint16Array(capacity);
    this.#block = new Uint16Array(capacity);
  }

  /** Forgets the row. */
  clear(row: number): void {
    this.#segments[row] = 0;
    this.#playedMs[row] = 0;
    this.#playedBefore[row] = 0;
  }

  /** Whether the row has a stall that reaches into the last 60 s; forgets older ones. */
  hasStalls(row: number, nowMs: number): boolean {
    if (this.#segments[row] !== 0) this.#forgetOld(row, nowMs);
    return this.#segments[row] !== 0;
  }

  /** Forgets the row's stalls. */
  clearStalls(row: number): void {
    this.#segments[row] = 0;
  }

  /**
   * Adds a stall of `stalledMs` in an interval of `intervalMs` that ended at `endMs`, or, of a
   * heartbeat that was overtaken, when the row's newest stall ended.
   */
  addStall(row: number, endsMs: number, intervalMs: number, stalledMs: number): void {
    const endMs = this.#notBefore(row, endsMs);
    this.#forgetOld(row, endMs);
    // A player that reports a stall at its end may give more of it than the interval holds.
    const lengthMs = Math.max(intervalMs, stalledMs, 1);
    const reachMs = Math.min(lengthMs, REACH_MS);
    if (this.#segments[row] === SEGMENTS) this.#mergeOldest(row);
    const count = this.#segments[row] ?? 0;
    const at = row * SEGMENTS + count;
    this.#endMs[at] = endMs;
    this.#lengthMs[at] = reachMs;
    this.#stalledMs[at] = Math.min(REACH_MS, stalledMs * reachMs / lengthMs);
    this.#segments[row] = count + 1;
  }

  /** Stalled time within the last `spanMs` before `nowMs`, in ms; at most `spanMs`. */
  stalledWithin(row: number, nowMs: number, spanMs: number): number {
    const from = row * SEGMENTS;
    const to = from + (this.#segments[row] ?? 0);
    let sum = 0;
    for (let at = from; at < to; at++) {
      const endedMs = (nowMs - (this.#endMs[at] ?? 0)) >>> 0;
      if (endedMs >= spanMs) continue;
      const lengthMs = this.#lengthMs[at] ?? 1;
      const overlapMs = Math.min(lengthMs, spanMs - endedMs);
      sum += (this.#stalledMs[at] ?? 0) * overlapMs / lengthMs;
    }
    return Math.min(spanMs, sum);
  }

  /** Adds time played. */
  addPlayed(row: number, nowMs: number, playedMs: number): void {
    this.#turnBlock(row, nowMs);
    this.#playedMs[row] = Math.min(MAX_UINT16, (this.#playedMs[row] ?? 0) + playedMs);
  }

  /**
   * Time played in the last 60 s, in ms: this block and the part of the one before that the span
   * still covers, as if it had been played evenly.
   */
  playedWithin60s(row: number, nowMs: number): number {
    this.#turnBlock(row, nowMs);
    const passed = (nowMs >>> 0) % BLOCK_MS / BLOCK_MS;
    return (this.#playedMs[row] ?? 0) + (1 - passed) * (this.#playedBefore[row] ?? 0);
  }

  // The later of `endMs` and the end of the newest stall.
  #notBefore(row: number, endMs: number): number {
    const count = this.#segments[row] ?? 0;
    if (count === 0) return endMs;
    const newestMs = this.#endMs[row * SEGMENTS + count - 1] ?? 0;
    return ((endMs - newestMs) >>> 0) > MAX_UINT32 / 2 ? newestMs : endMs;
  }

  #turnBlock(row: number, nowMs: number): void {
    const block = Math.floor((nowMs >>> 0) / BLOCK_MS) & MAX_UINT16;
    const blocks = (block - (this.#block[row] ?? 0)) & MAX_UINT16;
    // A look back, of who has read less far, turns nothing.
    if (blocks === 0 || blocks > MAX_UINT16 / 2) return;
    this.#playedBefore[row] = blocks === 1 ? this.#playedMs[row] ?? 0 : 0;
    this.#playedMs[row] = 0;
    this.#block[row] = block;
  }

  #forgetOld(row: number, nowMs: number): void {
    const from = row * SEGMENTS;
    const count = this.#segments[row] ?? 0;
    let old = 0;
    while (old < count && ((nowMs - (this.#endMs[from + old] ?? 0)) >>> 0) >= REACH_MS) old++;
    if (old > 0) this.#shift(row, old);
  }

  // The oldest two become one of their joint length and stall.
  #mergeOldest(row: number): void {
    const at = row * SEGMENTS;
    const betweenMs = ((this.#endMs[at + 1] ?? 0) - (this.#endMs[at] ?? 0)) >>> 0;
    const lengthMs = Math.min(REACH_MS, betweenMs + (this.#lengthMs[at] ?? 0));
    const stalledMs = (this.#stalledMs[at] ?? 0) + (this.#stalledMs[at + 1] ?? 0);
    this.#lengthMs[at + 1] = Math.max(1, lengthMs);
    this.#stalledMs[at + 1] = Math.min(REACH_MS, stalledMs);
    this.#shift(row, 1);
  }

  #shift(row: number, by: number): void {
    const from = row * SEGMENTS;
    const count = this.#segments[row] ?? 0;
    for (const column of [this.#endMs, this.#lengthMs, this.#stalledMs]) {
      column.copyWithin(from, from + by, from + count);
    }
    this.#segments[row] = count - by;
  }
}

/**
 * Of a stall of `stalledMs` in an interval of `intervalMs` that ended `agoMs` after a cut, what must
 * have been after the cut: as much of it as the time before the cut holds is taken as before.
 */
export function stalledAfterCut(intervalMs: number, stalledMs: number, agoMs: number): number {
  const lengthMs = Math.max(intervalMs, stalledMs);
  return Math.max(0, stalledMs - Math.max(0, lengthMs - Math.max(0, agoMs)));
}
