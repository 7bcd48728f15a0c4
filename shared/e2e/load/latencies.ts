/**
 * Times in buckets whose width grows with them: a quantile is at most 2.2 % too high, however many
 * times there are, and never too low.
 *
 * Pure.
 *
 * @module
 */

/** Buckets by doubling. */
const PER_DOUBLING = 32;
/** Of the first bucket, ms. */
const SMALLEST_MS = 0.01;

/** Buckets that are not empty, as index and count; and the largest time. */
export interface LatencyCounts {
  readonly buckets: readonly (readonly [index: number, count: number])[];
  readonly maxMs: number;
}

/** Times, ms. */
export class Latencies {
  readonly #counts: number[] = [];
  #count = 0;
  #maxMs = 0;

  /** All of `parts` as one. */
  static of(parts: Iterable<LatencyCounts>): Latencies {
    const all = new Latencies();
    for (const { buckets, maxMs } of parts) {
      for (const [index, count] of buckets) all.#add(index, count);
      all.#maxMs = Math.max(all.#maxMs, maxMs);
    }
    return all;
  }

  /** Enters one; a negative one counts as 0. */
  add(ms: number): void {
    const doublings = Math.log2(Math.max(ms, SMALLEST_MS) / SMALLEST_MS);
    this.#add(Math.ceil(doublings * PER_DOUBLING), 1);
    this.#maxMs = Math.max(this.#maxMs, ms);
  }

  get count(): number {
    return this.#count;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  /** The time that the part `q` of all do not exceed, ms; undefined of none. */
  quantileMs(q: number): number | undefined {
    const wanted = Math.max(1, Math.ceil(this.#count * q));
    let seen = 0;
    for (const [index, count] of this.#counts.entries()) {
      seen += count ?? 0;
      if (seen >= wanted) {
        return Math.min(SMALLEST_MS * 2 ** (index / PER_DOUBLING), this.#maxMs);
      }
    }
    return undefined;
  }

  /** For {@link Latencies.of}. */
  counts(): LatencyCounts {
    const buckets = [...this.#counts.entries()].filter(([, count]) => count > 0);
    return { buckets, maxMs: this.#maxMs };
  }

  #add(index: number, count: number): void {
    this.#counts[index] = (this.#counts[index] ?? 0) + count;
    this.#count += count;
  }
}
