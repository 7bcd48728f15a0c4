/**
 * How much may be on its way to one stream, and how long its answer may take.
 *
 * A long link holds more batches than a short one at the same rate, so the number of batches follows
 * the measured round trip. A thin link, or a stream that is busy, takes fewer bytes: the window of
 * bytes shrinks while answers are late, and grows again while they are not.
 *
 * Pure. Times are in ms.
 *
 * @module
 */

/** Maximum batches in flight to one stream, however long the link is. */
export const MAX_BATCHES = 64;
/** One batch more for so much of a round trip: 500 events each are 50,000 events a second. */
const ROUND_TRIP_OF_A_BATCH_MS = 10;
const WINDOW_BYTES = { min: 4 * 1024, start: 64 * 1024, max: 16 * 1024 ** 2 } as const;
/** Answers that take more than this share of their limit are late. */
const LATE_SHARE = 0.5;
/** The limit of an answer is at least so many round trips: one is the least that it takes. */
const MIN_ROUND_TRIPS = 4;

/** The pace of one stream. */
export class Pace {
  #windowBytes: number = WINDOW_BYTES.start;
  /** It grows fast until it was too large once. */
  #hasShrunk = false;
  #bytesInFlight = 0;
  #batchesInFlight = 0;

  /** @param batchesOnShortLink Maximum batches in flight when the round trip is next to nothing. */
  constructor(readonly batchesOnShortLink: number) {}

  /** Maximum bytes of the next batch; 0 when it has to wait. */
  roomBytes(roundTripMs: number): number {
    const more = Math.floor(roundTripMs / ROUND_TRIP_OF_A_BATCH_MS);
    const batches = Math.min(this.batchesOnShortLink + more, MAX_BATCHES);
    if (this.#batchesInFlight >= batches) return 0;
    const room = this.#windowBytes - this.#bytesInFlight;
    // Else the rest of the window would be many small batches.
    return room >= this.#windowBytes / 4 ? room : 0;
  }

  /** Time that an attempt may take: its share of what is left, or a few round trips. */
  timeoutMs(leftMs: number, attemptsLeft: number, roundTripMs: number): number {
    return Math.min(leftMs, Math.max(leftMs / attemptsLeft, MIN_ROUND_TRIPS * roundTripMs));
  }

  /** A batch is on its way. */
  sent(bytes: number): void {
    this.#batchesInFlight += 1;
    this.#bytesInFlight += bytes;
  }

  /** A batch has its outcome. */
  settled(bytes: number): void {
    this.#batchesInFlight -= 1;
    this.#bytesInFlight -= bytes;
  }

  /** A batch in flight was acknowledged after `tookMs`, of at most `timeoutMs`. */
  landed(bytes: number, tookMs: number, timeoutMs: number): void {
    if (tookMs > timeoutMs * LATE_SHARE) return this.#shrink(0.75);
    // A window that was not used says nothing about a larger one.
    if (this.#bytesInFlight < this.#windowBytes / 2) return;
    const growth = this.#hasShrunk ? bytes / 4 : bytes;
    this.#windowBytes = Math.min(WINDOW_BYTES.max, this.#windowBytes + growth);
  }

  /** A batch was not answered in time, or the stream was too busy for it. */
  missed(): void {
    this.#shrink(0.5);
  }

  #shrink(factor: number): void {
    this.#hasShrunk = true;
    this.#windowBytes = Math.max(WINDOW_BYTES.min, this.#windowBytes * factor);
  }
}
