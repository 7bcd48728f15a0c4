/**
 * Puts the observations of all streams in one order that depends on what the streams hold, and not
 * on which process read them or how fast.
 *
 * Observations are poured in slices of {@link SLICE_MS} of receipt time, the streams of a slice one
 * after the other, once every stream was heard to its end. Of each stream every sequence counts
 * once: what two processes observed, because one took over from the other, is left out the second
 * time.
 *
 * Pure. Times are receipts, ms since the epoch.
 *
 * @module
 */
import type { WatchedHeartbeat } from "../watch/sessions.ts";
import { commonTimeMs } from "../watch/receipt_clock.ts";
import type { ObservationBatch, Skip } from "./observation_batch.ts";

const SLICE_MS = 100;
/** Time over which {@link Timeline.coverage} is. */
const COVERAGE_MS = 20_000;
const SECOND_MS = 1_000;
/** A stream that was heard so much less far than another is not waited for. */
const MAX_WAIT_MS = 8_000;
/** A stream that was heard no further than this before the time decided about is missing. */
const MISSING_MS = 5_000;

/** Called with each heartbeat, its receipt and the number of its stream. */
export type OnObserved = (
  heartbeat: WatchedHeartbeat,
  receivedAtMs: number,
  lane: number,
) => void;

/** Heartbeats in one second of receipts. */
interface SecondCount {
  seen: number;
  skipped: number;
}

/** The observations of one stream. */
class Lane {
  readonly batches: ObservationBatch[] = [];
  readonly seconds = new Map<number, SecondCount>();
  heardToMs: number | undefined;
  lagMs = 0;
  by = "";
  /** Sequence up to which observations were taken in or skipped. */
  last = 0;
  /** Receipt of the newest observation taken in. */
  newestMs = -Infinity;
  /** Heartbeats that were read, and that were skipped. */
  events = 0;
  skipped = 0;
  /** Heartbeats a second in the last time that it was heard. */
  rate = 0;

  add(batch: ObservationBatch): readonly Skip[] {
    const { head } = batch;
    this.heardToMs = head.heard_to ?? this.heardToMs;
    this.lagMs = head.lag_ms;
    this.by = head.by;
    if (head.last <= this.last) {
      if (batch.receivedAtMs === Infinity || batch.receivedAtMs <= this.newestMs) return [];
      // Newer heartbeats with lower sequences: the stream was made anew.
      this.last = 0;
    }
    const isNew = head.first > this.last;
    while (batch.next < head.rows && batch.sequence(batch.next) <= this.last) batch.next += 1;
    this.last = head.last;
    this.events += isNew ? head.events : head.rows - batch.next;
    if (batch.next < head.rows) {
      this.newestMs = batch.columns.receivedMs[head.rows - 1] ?? this.newestMs;
      this.batches.push(batch);
    }
    if (!isNew) return [];
    for (const skip of head.skips) this.#skip(skip);
    return head.skips;
  }

  count(receivedAtMs: number): void {
    this.#second(Math.floor(receivedAtMs / SECOND_MS)).seen += 1;
  }

  // Spread evenly, of which only the newest part matters.
  #skip({ events, fromMs, toMs }: Skip): void {
    this.skipped += events;
    const last = Math.floor(toMs / SECOND_MS);
    const first = Math.min(last, Math.floor(fromMs / SECOND_MS));
    const perSecond = events / (last - first + 1);
    const from = Math.max(first, last - COVERAGE_MS / SECOND_MS);
    for (let second = from; second <= last; second++) this.#second(second).skipped += perSecond;
  }

  #second(second: number): SecondCount {
    let found = this.seconds.get(second);
    if (found === undefined) {
      found = { seen: 0, skipped: 0 };
      this.seconds.set(second, found);
    }
    return found;
  }

  /** Heartbeats seen, and those that were skipped or are missing, in the time before `nowMs`. */
  sums(nowMs: number): SecondCount {
    const from = Math.floor((nowMs - COVERAGE_MS) / SECOND_MS);
    const sums: SecondCount = { seen: 0, skipped: 0 };
    for (const [second, { seen, skipped }] of this.seconds) {
      if (second < from) this.seconds.delete(second);
      else if (second * SECOND_MS < nowMs) {
        sums.seen += seen;
        sums.skipped += skipped;
      }
    }
    const missingMs = nowMs - (this.heardToMs ?? -Infinity);
    if (missingMs > MISSING_MS) {
      sums.skipped += this.rate * Math.min(missingMs, COVERAGE_MS) / SECOND_MS;
    } else this.rate = (sums.seen + sums.skipped) * SECOND_MS / COVERAGE_MS;
    return sums;
  }
}

/** How far one stream was heard. */
export interface LaneView {
  readonly stream: string;
  /** How far its reader is behind, ms of receipt. */
  readonly lagMs: number;
  /** Receipt up to which it was heard; undefined while nothing is known. */
  readonly heardToMs: number | undefined;
  /** The process that reads it. */
  readonly by: string;
}

/** The observations of all streams. */
export class Timeline {
  readonly #lanes: ReadonlyMap<string, Lane>;

  /** @param onSkip Called once with each skip, before what comes after it is poured. */
  constructor(
    readonly streams: readonly string[],
    readonly onSkip: (lane: number, skip: Skip) => void,
  ) {
    this.#lanes = new Map(streams.map((stream) => [stream, new Lane()]));
  }

  /** Adds a batch of `stream`. */
  add(stream: string, batch: ObservationBatch): void {
    const lane = this.#lanes.get(stream);
    if (lane === undefined) return;
    for (const skip of lane.add(batch)) this.onSkip(this.streams.indexOf(stream), skip);
  }

  /**
   * The receipt time up to which all streams were heard, given the time decided about; a stream that
   * is not heard for long is not waited for. Undefined while nothing is known.
   */
  heardToMs(decidedMs: number): number | undefined {
    const times = [...this.#lanes.values()].flatMap(({ heardToMs }) => heardToMs ?? []);
    // At the start, wait for all of them; later a stream may be lost.
    if (decidedMs === -Infinity && times.length < this.#lanes.size) return undefined;
    const newestMs = Math.max(...times);
    return commonTimeMs(times.filter((ms) => ms > newestMs - MAX_WAIT_MS), decidedMs);
  }

  /**
   * Passes the observations received before `untilMs` on, in their order, until `mayGoOn`, which is
   * asked after each slice of a stream, returns false. Returns whether all were passed on.
   */
  pour(
    untilMs: number,
    onHeartbeat: OnObserved,
    mayGoOn: () => boolean,
  ): boolean {
    for (;;) {
      const firstMs = this.firstMs;
      if (firstMs >= untilMs) return true;
      const endMs = Math.min(untilMs, (Math.floor(firstMs / SLICE_MS) + 1) * SLICE_MS);
      let number = 0;
      for (const lane of this.#lanes.values()) pourLane(lane, number++, endMs, onHeartbeat);
      if (!mayGoOn()) return this.firstMs >= untilMs;
    }
  }

  /** Receipt of the first observation that waits to be poured; Infinity if none does. */
  get firstMs(): number {
    let firstMs = Infinity;
    for (const { batches } of this.#lanes.values()) {
      firstMs = Math.min(firstMs, batches[0]?.receivedAtMs ?? Infinity);
    }
    return firstMs;
  }

  /** Share of the heartbeats of the last 20 s before `nowMs` that were observed. */
  coverage(nowMs: number): number {
    let seen = 0;
    let all = 0;
    for (const lane of this.#lanes.values()) {
      const sums = lane.sums(nowMs);
      seen += sums.seen;
      all += sums.seen + sums.skipped;
    }
    return all === 0 ? 1 : seen / all;
  }

  /** Heartbeats that all streams were read of, and that were skipped. */
  get events(): number {
    return this.#sum(({ events }) => events);
  }
  get skipped(): number {
    return this.#sum(({ skipped }) => skipped);
  }

  /** How far the readers are behind, and which process reads, by stream. */
  get lanes(): readonly LaneView[] {
    return [...this.#lanes].map(([stream, { lagMs, heardToMs, by }]) => ({
      stream,
      lagMs,
      heardToMs,
      by,
    }));
  }

  /** Receipt up to which the stream that was heard furthest was heard. */
  get newestMs(): number | undefined {
    const times = [...this.#lanes.values()].flatMap(({ heardToMs }) => heardToMs ?? []);
    return times.length === 0 ? undefined : Math.max(...times);
  }

  #sum(of: (lane: Lane) => number): number {
    return [...this.#lanes.values()].reduce((sum, lane) => sum + of(lane), 0);
  }
}

function pourLane(lane: Lane, number: number, endMs: number, onHeartbeat: OnObserved): void {
  const { batches } = lane;
  for (let batch = batches[0]; batch !== undefined && batch.receivedAtMs < endMs;) {
    const { receivedAtMs } = batch;
    lane.count(receivedAtMs);
    onHeartbeat(batch.take(), receivedAtMs, number);
    if (batch.next < batch.head.rows) continue;
    batches.shift();
    batch = batches[0];
  }
}
