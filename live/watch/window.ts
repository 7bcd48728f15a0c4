/**
 * A sliding window over event time: playback and rebuffering per title and region, as integer sums.
 *
 * Pure: event and receipt times are arguments. Adding a heartbeat is O(1), whatever the window.
 *
 * Time is divided into buckets. The watermark is the greatest `ts` seen; the window is the bucket
 * of the watermark and the buckets before it, as many as `windowMs` holds. A heartbeat counts as a
 * whole in the bucket of its `ts`, so it may be late by up to the window. A later one is left out:
 * it says nothing about the present. A `ts` ahead of receipt is replaced by the receipt, so a
 * device whose clock runs fast cannot move the watermark into the future.
 *
 * All partitions share one window and one watermark, because the sessions of a title are spread
 * over them. A partition that lags by more than the window is left out until it has caught up, so
 * that it does not delay the others.
 *
 * After event time ran ahead (a replay followed by a replay of an earlier hour, a server's clock
 * that was corrected), every heartbeat would be late forever. {@link Window.tick} detects that and
 * resets the window.
 *
 * @module
 */
import { fnv1aText } from "../../shared/contract/hash.ts";

/** Options of a {@link Window}. */
export interface WindowOptions {
  /** A multiple of `bucketMs`. */
  readonly windowMs: number;
  readonly bucketMs: number;
  /** Maximum titles × regions; beyond it the least recently updated is evicted. */
  readonly maxKeys: number;
  /** Consecutive ticks with late heartbeats only after which the window is reset. */
  readonly rewindAfterTicks: number;
}

/** The fields of a heartbeat that the window reads. */
export interface MeasuredHeartbeat {
  readonly title_id: string;
  readonly region: string;
  readonly session_id: string;
  /** Event time, ms since the epoch. */
  readonly ts: number;
  readonly played_ms: number;
  readonly rebuffer_ms: number;
}

/** Sums over some of the newest buckets. */
export interface Sums {
  readonly heartbeats: number;
  readonly playedMs: number;
  readonly rebufferMs: number;
}

/** One title in one region. */
export interface Key {
  readonly titleId: string;
  readonly region: string;
}

/** The outcome of adding a heartbeat: `late` heartbeats are left out. */
export type AddOutcome = "counted" | "late";

/** One sum per bucket of a window; the index of a bucket is its number modulo their count. */
class BucketSums {
  constructor(readonly sums: Uint32Array | Float64Array) {}

  of(at: number): number {
    return this.sums[at] ?? 0;
  }
  add(at: number, more: number): void {
    this.sums[at] = this.of(at) + more;
  }
  /** Sets a bucket to 0; returns its sum. */
  take(at: number): number {
    const sum = this.of(at);
    this.sums[at] = 0;
    return sum;
  }
}

/** The sums of one title in one region over the window. */
export class Cell implements Key, Sums {
  heartbeats = 0;
  playedMs = 0;
  rebufferMs = 0;
  /** Receipt of the newest heartbeat counted, ms since the epoch. */
  receivedAt = 0;
  /** Neighbours in the order of the last update. @internal */
  older: Cell | undefined;
  /** @internal */
  newer: Cell | undefined;

  readonly #buckets: number;
  readonly #heartbeats: BucketSums;
  readonly #playedMs: BucketSums;
  readonly #rebufferMs: BucketSums;
  // Two words per bucket mark the sessions that stalled; allocated at the first stall.
  #stalled: Uint32Array | undefined;
  #newestBucket: number;

  constructor(readonly titleId: string, readonly region: string, buckets: number, bucket: number) {
    this.#buckets = buckets;
    this.#heartbeats = new BucketSums(new Uint32Array(buckets));
    this.#playedMs = new BucketSums(new Float64Array(buckets));
    this.#rebufferMs = new BucketSums(new Float64Array(buckets));
    this.#newestBucket = bucket;
  }

  /** Counts a heartbeat in `bucket`, which is inside the window that ends at the newest bucket. */
  add(bucket: number, heartbeat: MeasuredHeartbeat, receivedAt: number): void {
    const at = bucket % this.#buckets;
    const { played_ms, rebuffer_ms } = heartbeat;
    this.#heartbeats.add(at, 1);
    this.#playedMs.add(at, played_ms);
    this.heartbeats += 1;
    this.playedMs += played_ms;
    if (receivedAt > this.receivedAt) this.receivedAt = receivedAt;
    if (rebuffer_ms === 0) return;
    this.#rebufferMs.add(at, rebuffer_ms);
    this.rebufferMs += rebuffer_ms;
    this.#markStalled(at, heartbeat.session_id);
  }

  /** Moves the end of the window to `bucket` and clears the buckets that left it. */
  advance(bucket: number): void {
    const buckets = this.#buckets;
    const first = Math.max(this.#newestBucket + 1, bucket - buckets + 1);
    for (let each = first; each <= bucket; each++) this.#clear(each % buckets);
    if (bucket > this.#newestBucket) this.#newestBucket = bucket;
  }

  /** Sums over the newest `buckets` buckets. */
  newest(buckets: number): Sums {
    const sums = { heartbeats: 0, playedMs: 0, rebufferMs: 0 };
    for (const at of this.#newestIndexes(buckets)) {
      sums.heartbeats += this.#heartbeats.of(at);
      sums.playedMs += this.#playedMs.of(at);
      sums.rebufferMs += this.#rebufferMs.of(at);
    }
    return sums;
  }

  /**
   * Estimated number of sessions that stalled in the newest `buckets` buckets: exact for a few, at
   * most 266. Linear counting over 64 bits (K. Whang, B. Vander-Zanden, H. Taylor, "A linear-time
   * probabilistic counting algorithm for database applications", 1990).
   */
  stalledSessions(buckets: number): number {
    if (!this.#stalled) return 0;
    let low = 0;
    let high = 0;
    for (const at of this.#newestIndexes(buckets)) {
      low |= this.#stalled[2 * at] ?? 0;
      high |= this.#stalled[2 * at + 1] ?? 0;
    }
    const empty = 64 - bitsSet(low) - bitsSet(high);
    return Math.round(64 * Math.log(64 / Math.max(empty, 1)));
  }

  #newestIndexes(buckets: number): number[] {
    const size = this.#buckets;
    const count = Math.min(buckets, size);
    return Array.from({ length: count }, (_, i) => (this.#newestBucket - i + size) % size);
  }

  #markStalled(at: number, sessionId: string): void {
    this.#stalled ??= new Uint32Array(2 * this.#buckets);
    // Similar names differ little in FNV's low bits; Knuth's multiplicative hash spreads them.
    const bit = Math.imul(fnv1aText(sessionId), 0x9e3779b1) >>> 26;
    const word = 2 * at + (bit >> 5);
    this.#stalled[word] = (this.#stalled[word] ?? 0) | 1 << (bit & 31);
  }

  #clear(at: number): void {
    this.heartbeats -= this.#heartbeats.take(at);
    this.playedMs -= this.#playedMs.take(at);
    this.rebufferMs -= this.#rebufferMs.take(at);
    if (this.#stalled) this.#stalled[2 * at] = this.#stalled[2 * at + 1] = 0;
  }
}

/** A sliding window over all titles and regions; see above. */
export class Window {
  /** Titles × regions evicted because of `maxKeys`. */
  evictedKeys = 0;
  /** How often the window was reset. */
  rewinds = 0;

  readonly #buckets: number;
  readonly #cells = new Map<string, Map<string, Cell>>();
  #keys = 0;
  #oldest: Cell | undefined;
  #newest: Cell | undefined;
  #watermarkMs = 0;
  #bucket = 0;

  #countedSinceTick = 0;
  #lateTicks = 0;
  #newestLateMs = 0;

  constructor(readonly options: WindowOptions) {
    this.#buckets = options.windowMs / options.bucketMs;
  }

  /** The greatest `ts` seen, ms since the epoch; 0 before the first heartbeat. */
  get watermarkMs(): number {
    return this.#watermarkMs;
  }
  /** Number of the watermark's bucket; it grows as event time advances. */
  get bucket(): number {
    return this.#bucket;
  }
  /** Titles × regions in the window. */
  get keys(): number {
    return this.#keys;
  }

  /** Adds a heartbeat that the stream received at `receivedAt`, ms since the epoch. */
  add(heartbeat: MeasuredHeartbeat, receivedAt: number): AddOutcome {
    const { bucketMs } = this.options;
    const ts = Math.min(heartbeat.ts, receivedAt);
    const bucket = Math.floor(ts / bucketMs);
    if (bucket <= this.#bucket - this.#buckets) {
      if (ts > this.#newestLateMs) this.#newestLateMs = ts;
      return "late";
    }
    this.#countedSinceTick += 1;
    if (ts > this.#watermarkMs) {
      this.#watermarkMs = ts;
      this.#bucket = bucket;
    }
    const cell = this.#cellOf(heartbeat);
    cell.advance(this.#bucket);
    cell.add(bucket, heartbeat, receivedAt);
    this.#touch(cell);
    return "counted";
  }

  /** Every title and region with a heartbeat in the window; removes the others. */
  *cells(): Iterable<Cell> {
    for (let cell = this.#oldest; cell;) {
      const next = cell.newer;
      cell.advance(this.#bucket);
      if (cell.heartbeats === 0) this.#remove(cell);
      else yield cell;
      cell = next;
    }
  }

  /** To be called about once a second; resets the window when only late heartbeats arrive. */
  tick(): void {
    if (this.#countedSinceTick > 0) {
      this.#lateTicks = 0;
      this.#newestLateMs = 0;
    } else if (this.#newestLateMs > 0) {
      this.#lateTicks += 1;
    }
    this.#countedSinceTick = 0;
    if (this.#lateTicks >= this.options.rewindAfterTicks) this.#reset();
  }

  #reset(): void {
    this.#cells.clear();
    this.#keys = 0;
    this.#oldest = this.#newest = undefined;
    this.#watermarkMs = this.#newestLateMs;
    this.#bucket = Math.floor(this.#watermarkMs / this.options.bucketMs);
    this.#newestLateMs = this.#lateTicks = 0;
    this.rewinds += 1;
  }

  #cellOf({ title_id, region }: MeasuredHeartbeat): Cell {
    let titles = this.#cells.get(region);
    if (!titles) this.#cells.set(region, titles = new Map());
    let cell = titles.get(title_id);
    if (cell) return cell;
    cell = new Cell(title_id, region, this.#buckets, this.#bucket);
    titles.set(title_id, cell);
    this.#keys += 1;
    if (this.#keys > this.options.maxKeys && this.#oldest) {
      this.#remove(this.#oldest);
      this.evictedKeys += 1;
    }
    return cell;
  }

  // Cells are a linked list, oldest update first: with a Map, each heartbeat would cost a delete
  // and an insert.
  #touch(cell: Cell): void {
    if (cell === this.#newest) return;
    this.#unlink(cell);
    cell.older = this.#newest;
    if (this.#newest) this.#newest.newer = cell;
    this.#newest = cell;
    this.#oldest ??= cell;
  }

  #unlink(cell: Cell): void {
    const { older, newer } = cell;
    if (older) older.newer = newer;
    else if (this.#oldest === cell) this.#oldest = newer;
    if (newer) newer.older = older;
    else if (this.#newest === cell) this.#newest = older;
    cell.older = cell.newer = undefined;
  }

  #remove(cell: Cell): void {
    this.#unlink(cell);
    const titles = this.#cells.get(cell.region);
    titles?.delete(cell.titleId);
    if (titles?.size === 0) this.#cells.delete(cell.region);
    this.#keys -= 1;
  }
}

function bitsSet(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}
