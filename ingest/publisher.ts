/**
 * Group commit: events of all requests are landed together, in batches, stream by stream.
 *
 * Guarantees, each tested by name:
 * - `publish` resolves only after every event's batch has been acknowledged;
 * - a batch that fails is sent again whole, with the same message ids, while patience lasts;
 * - events in flight, events and bytes in a batch, and batches under way are bounded.
 *
 * A request that is refused may have been stored in part. Its device sends the same bytes again,
 * and the message ids make the copies one.
 *
 * @module
 */
import { RetryAfter } from "../shared/process/errors.ts";
import { pause } from "../shared/process/retry.ts";
import type { RoutedEvent } from "./admit.ts";

/** Lands one batch: resolves once all of it is acknowledged, rejects with {@link RetryAfter}. */
export interface Landing {
  land(partition: number, events: readonly RoutedEvent[], timeoutMs: number): Promise<void>;
}

export interface PublisherOptions {
  readonly partitions: number;
  readonly maxInFlightEvents: number;
  readonly batchEvents: number;
  readonly batchBytes: number;
  readonly batchesUnderWay: number;
  /** Longest that a batch that is not full waits for more events, in ms. */
  readonly lingerMs: number;
  /** Longest from `publish` to its answer, in ms. */
  readonly deadlineMs: number;
}

/** How often a batch is sent at most. */
const MAX_ATTEMPTS = 3;
/** A cause that needs longer than this to pass is the device's to wait for, in ms. */
const PATIENCE_MS = 500;
/** What a device is told to wait when the edge is full, in ms. */
const FULL_RETRY_MS = 1_000;

/** The events of one `publish` for one stream, taken from the front into batches. */
class Submission {
  #unsettled: number;
  #next = 0;
  #over = false;
  readonly #outcome = Promise.withResolvers<void>();

  constructor(readonly events: readonly RoutedEvent[], readonly deadlineAtMs: number) {
    this.#unsettled = events.length;
  }

  get settled(): Promise<void> {
    return this.#outcome.promise;
  }
  /** Answered already: what is left of it need not be sent. */
  get over(): boolean {
    return this.#over;
  }
  /** How many of its events wait for a batch. */
  get waiting(): number {
    return this.events.length - this.#next;
  }
  /** The next event to send, or undefined when all are in batches. */
  peek(): RoutedEvent | undefined {
    return this.events[this.#next];
  }
  advance(): void {
    this.#next += 1;
  }
  landed(events: number): void {
    this.#unsettled -= events;
    if (this.#unsettled === 0) this.#outcome.resolve();
  }
  fail(reason: unknown): void {
    this.#over = true;
    this.#outcome.reject(reason);
  }
}

interface Batch {
  readonly events: RoutedEvent[];
  /** Who is told, and of how many events. */
  readonly shares: { readonly submission: Submission; readonly events: number }[];
  deadlineAtMs: number;
}

/** The queue of one stream, in the order of arrival. */
class Lane {
  readonly waiting: Submission[] = [];
  waitingEvents = 0;
  batchesUnderWay = 0;
  /** The oldest event has waited for company long enough. */
  isDue = false;
  timer: ReturnType<typeof setTimeout> | undefined;
  constructor(readonly partition: number) {}
}

export class Publisher {
  readonly #lanes: readonly Lane[];
  #inFlight = 0;

  constructor(
    readonly landing: Landing,
    readonly options: PublisherOptions,
    readonly nowMs: () => number = () => performance.now(),
  ) {
    this.#lanes = Array.from({ length: options.partitions }, (_, index) => new Lane(index));
  }

  /** Events taken and not yet acknowledged or given up. */
  get eventsInFlight(): number {
    return this.#inFlight;
  }

  /** Resolves once all `events` are acknowledged; rejects with {@link RetryAfter} otherwise. */
  async publish(events: readonly RoutedEvent[]): Promise<void> {
    if (this.#inFlight + events.length > this.options.maxInFlightEvents) {
      throw new RetryAfter("as many events are in flight as may be", FULL_RETRY_MS);
    }
    this.#inFlight += events.length;
    const deadlineAtMs = this.nowMs() + this.options.deadlineMs;
    try {
      const parts = [...byPartition(events)];
      await allOf(
        parts.map(([partition, part]) =>
          this.#submit(partition, new Submission(part, deadlineAtMs))
        ),
      );
    } finally {
      this.#inFlight -= events.length;
    }
  }

  #submit(partition: number, submission: Submission): Promise<void> {
    const lane = this.#lanes[partition];
    if (lane === undefined) throw new RangeError(`partition ${partition} has no lane`);
    lane.waiting.push(submission);
    lane.waitingEvents += submission.events.length;
    this.#pump(lane);
    return submission.settled;
  }

  // Full batches go at once. What is left lingers for company, then goes as soon as it may.
  #pump(lane: Lane): void {
    const { batchEvents, batchesUnderWay, lingerMs } = this.options;
    while (lane.batchesUnderWay < batchesUnderWay && lane.waitingEvents > 0) {
      if (lane.waitingEvents < batchEvents && !lane.isDue) break;
      this.#send(lane);
    }
    if (lane.waitingEvents === 0 || lane.isDue || lane.timer !== undefined) return;
    lane.timer = setTimeout(() => {
      lane.timer = undefined;
      lane.isDue = true;
      this.#pump(lane);
    }, lingerMs);
  }

  #send(lane: Lane): void {
    const batch = this.#take(lane);
    lane.isDue = false;
    if (batch.events.length === 0) return;
    lane.batchesUnderWay += 1;
    void this.#landWithRetries(lane, batch).then(
      () => batch.shares.forEach(({ submission, events }) => submission.landed(events)),
      (error) => batch.shares.forEach(({ submission }) => submission.fail(error)),
    ).finally(() => {
      lane.batchesUnderWay -= 1;
      this.#pump(lane);
    });
  }

  #take(lane: Lane): Batch {
    const batch: Batch = { events: [], shares: [], deadlineAtMs: Infinity };
    const room = { events: this.options.batchEvents, bytes: this.options.batchBytes };
    for (;;) {
      const submission = lane.waiting[0];
      if (submission === undefined) break;
      if (submission.deadlineAtMs <= this.nowMs()) submission.fail(tooLate());
      const before = submission.waiting;
      if (!submission.over) moveInto(batch, submission, room);
      lane.waitingEvents -= submission.over ? before : before - submission.waiting;
      if (!submission.over && submission.waiting > 0) break;
      lane.waiting.shift();
    }
    return batch;
  }

  async #landWithRetries(lane: Lane, batch: Batch): Promise<void> {
    for (let attempt = 1;; attempt++) {
      const leftMs = batch.deadlineAtMs - this.nowMs();
      if (leftMs <= 0) throw tooLate();
      try {
        const timeoutMs = leftMs / (MAX_ATTEMPTS + 1 - attempt);
        return await this.landing.land(lane.partition, batch.events, timeoutMs);
      } catch (error) {
        if (!(error instanceof RetryAfter)) throw error;
        if (attempt === MAX_ATTEMPTS || error.retryAfterMs > PATIENCE_MS) throw error;
        await pause(error.retryAfterMs);
      }
    }
  }
}

// Fills the batch from the front of `submission`. The first event always fits, whatever its size.
function moveInto(
  batch: Batch,
  submission: Submission,
  room: { events: number; bytes: number },
): void {
  let moved = 0;
  let event: RoutedEvent | undefined;
  while ((event = submission.peek()) && room.events > 0) {
    if (event.bytes.length > room.bytes && batch.events.length > 0) break;
    room.events -= 1;
    room.bytes -= event.bytes.length;
    batch.events.push(event);
    submission.advance();
    moved += 1;
  }
  if (moved === 0) return;
  batch.shares.push({ submission, events: moved });
  batch.deadlineAtMs = Math.min(batch.deadlineAtMs, submission.deadlineAtMs);
}

function byPartition(events: readonly RoutedEvent[]): Map<number, RoutedEvent[]> {
  const parts = new Map<number, RoutedEvent[]>();
  for (const event of events) {
    const part = parts.get(event.partition);
    if (part) part.push(event);
    else parts.set(event.partition, [event]);
  }
  return parts;
}

// Waits for the slowest, so that nothing of a request is under way once it is answered.
async function allOf(parts: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(parts)) {
    if (result.status === "rejected") throw result.reason;
  }
}

function tooLate(): RetryAfter {
  return new RetryAfter("JetStream did not acknowledge in time", FULL_RETRY_MS);
}
