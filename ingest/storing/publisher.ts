/**
 * Group commit: the events of all requests are stored together, in batches, per stream.
 *
 * Guarantees, each with a test of its name:
 * - publish resolves only after every event's batch has been acknowledged;
 * - a batch that fails is sent again whole, with the same message ids;
 * - batches are bounded in events, in bytes and in number; a long link holds more of them;
 * - the events of a batch that have one subject share messages;
 * - events in flight are bounded; beyond the limit publish refuses at once;
 * - fleets share what may be in flight and are stored in turn: none waits for all of another one's.
 *
 * A request that is refused may have been stored in part. Its device sends the same bytes again,
 * and both readers know the events that they have seen.
 *
 * @module
 */
import { RetryAfter } from "../../shared/process/errors.ts";
import { pause } from "../../shared/process/retry.ts";
import type { RoutedEvent } from "../admit.ts";
import { NotStored } from "../refusals.ts";
import { type BudgetRefusal, FairBudget } from "../shares/fair_budget.ts";
import { FairQueue } from "../shares/fair_queue.ts";
import { messagesOf, type OutgoingMessage } from "./messages.ts";
import { Pace } from "./pace.ts";

/** Where a {@link Publisher} stores its batches. */
export interface Landing {
  /**
   * Stores one batch: resolves once all messages are acknowledged, rejects with {@link RetryAfter}
   * otherwise.
   */
  land(partition: number, messages: readonly OutgoingMessage[], timeoutMs: number): Promise<void>;
  /** The round trip to the server without load, ms. */
  readonly roundTripMs: number;
}

/** Limits of a {@link Publisher}. */
export interface PublisherOptions {
  /** Number of streams. */
  readonly partitions: number;
  readonly maxInFlightEvents: number;
  /** Per batch. */
  readonly maxBatchEvents: number;
  /** Per batch; a larger event is a batch of its own. */
  readonly maxBatchBytes: number;
  /** Per stream, on a short link; see {@link Pace}. */
  readonly maxBatchesInFlight: number;
  /** Maximum time that a partial batch waits for more events, in ms. */
  readonly lingerMs: number;
  /** Maximum time from `publish` to its outcome, in ms. */
  readonly deadlineMs: number;
}

/** Maximum attempts per batch. */
const MAX_ATTEMPTS = 3;
/** Maximum wait between attempts, in ms; beyond it the request is refused and the device waits. */
const MAX_RETRY_WAIT_MS = 500;
/** `Retry-After` of a request that is refused because of a limit or a deadline, in ms. */
const FULL_RETRY_MS = 1_000;

/** The events of one `publish` for one stream, taken from the front into batches. */
class Submission {
  #unsettled: number;
  #next = 0;
  #hasFailed = false;
  readonly #outcome = Promise.withResolvers<void>();

  constructor(readonly events: readonly RoutedEvent[], readonly deadlineAtMs: number) {
    this.#unsettled = events.length;
  }

  get settled(): Promise<void> {
    return this.#outcome.promise;
  }
  /** Whether the request is refused already, so that its remaining events need not be sent. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }
  /** Number of events that are not in a batch yet. */
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
    this.#hasFailed = true;
    this.#outcome.reject(reason);
  }
}

interface Batch {
  readonly events: RoutedEvent[];
  /** The submissions in this batch, with their number of events. */
  readonly shares: { readonly submission: Submission; readonly events: number }[];
  bytes: number;
  deadlineAtMs: number;
}

/** The queue of one stream: of each fleet in the order of arrival. */
class Lane {
  readonly waiting = new FairQueue<Submission>();
  waitingEvents = 0;
  /** Whether the linger time of the oldest event is over. */
  isDue = false;
  timer: ReturnType<typeof setTimeout> | undefined;
  constructor(readonly partition: number, readonly pace: Pace) {}
}

/** Collects events into batches per stream and publishes them; see the guarantees above. */
export class Publisher {
  readonly #lanes: readonly Lane[];
  readonly #inFlight: FairBudget;
  #acknowledged = 0;

  constructor(
    readonly landing: Landing,
    readonly options: PublisherOptions,
    readonly nowMs: () => number = () => performance.now(),
  ) {
    const { partitions, maxBatchesInFlight } = options;
    this.#lanes = Array.from(
      { length: partitions },
      (_, index) => new Lane(index, new Pace(maxBatchesInFlight)),
    );
    this.#inFlight = new FairBudget(options.maxInFlightEvents);
  }

  /** Number of events submitted and neither acknowledged nor refused. */
  get eventsInFlight(): number {
    return this.#inFlight.held;
  }

  /** The same of each fleet. */
  get eventsInFlightOf(): [fleet: string, events: number][] {
    return [...this.#inFlight.shares].map(([fleet, { held }]) => [fleet, held]);
  }

  /** Number of events acknowledged. */
  get eventsAcknowledged(): number {
    return this.#acknowledged;
  }

  /** Resolves once all `events` of `fleet` are acknowledged; rejects with {@link NotStored} otherwise. */
  async publish(events: readonly RoutedEvent[], fleet: string): Promise<void> {
    const share = this.#inFlight.shareOf(fleet);
    const refusal = share.take(events.length);
    if (refusal) throw tooMuchInFlight(refusal);
    const deadlineAtMs = this.nowMs() + this.options.deadlineMs;
    try {
      const parts = [...byPartition(events)];
      await allOf(
        parts.map(([partition, part]) =>
          this.#submit(partition, fleet, new Submission(part, deadlineAtMs))
        ),
      );
      this.#acknowledged += events.length;
    } finally {
      share.release(events.length);
    }
  }

  #submit(partition: number, fleet: string, submission: Submission): Promise<void> {
    const lane = this.#lanes[partition];
    if (lane === undefined) throw new RangeError(`partition ${partition} has no lane`);
    lane.waiting.push(fleet, submission);
    lane.waitingEvents += submission.events.length;
    this.#pump(lane);
    return submission.settled;
  }

  // Full batches are sent at once; a partial batch lingers, then is sent when a slot is free.
  #pump(lane: Lane): void {
    const { maxBatchEvents, lingerMs } = this.options;
    while (lane.waitingEvents > 0) {
      if (lane.waitingEvents < maxBatchEvents && !lane.isDue) break;
      const roomBytes = lane.pace.roomBytes(this.landing.roundTripMs);
      if (roomBytes === 0) break;
      this.#send(lane, roomBytes);
    }
    if (lane.waitingEvents === 0 || lane.isDue || lane.timer !== undefined) return;
    lane.timer = setTimeout(() => {
      lane.timer = undefined;
      lane.isDue = true;
      this.#pump(lane);
    }, lingerMs);
  }

  #send(lane: Lane, roomBytes: number): void {
    const batch = this.#take(lane, roomBytes);
    lane.isDue = false;
    if (batch.events.length === 0) return;
    lane.pace.sent(batch.bytes);
    void this.#landWithRetries(lane, batch).then(
      () => batch.shares.forEach(({ submission, events }) => submission.landed(events)),
      (error) => batch.shares.forEach(({ submission }) => submission.fail(error)),
    ).finally(() => {
      lane.pace.settled(batch.bytes);
      this.#pump(lane);
    });
  }

  #take(lane: Lane, roomBytes: number): Batch {
    const { maxBatchEvents, maxBatchBytes } = this.options;
    const batch: Batch = { events: [], shares: [], bytes: 0, deadlineAtMs: Infinity };
    const room = { events: maxBatchEvents, bytes: Math.min(maxBatchBytes, roomBytes) };
    for (;;) {
      const submission = lane.waiting.first;
      if (submission === undefined) break;
      if (submission.deadlineAtMs <= this.nowMs()) submission.fail(deadlineExceeded());
      const before = submission.waiting;
      if (!submission.hasFailed) moveInto(batch, submission, room);
      lane.waitingEvents -= submission.hasFailed ? before : before - submission.waiting;
      const isFull = !submission.hasFailed && submission.waiting > 0;
      lane.waiting.next(!isFull);
      if (isFull) break;
    }
    return batch;
  }

  // What is sent again is the same messages, with the same ids.
  async #landWithRetries(lane: Lane, batch: Batch): Promise<void> {
    const messages = messagesOf(batch.events);
    for (let attempt = 1;; attempt++) {
      const sentAtMs = this.nowMs();
      const leftMs = batch.deadlineAtMs - sentAtMs;
      if (leftMs <= 0) throw deadlineExceeded();
      const attemptsLeft = MAX_ATTEMPTS + 1 - attempt;
      const timeoutMs = lane.pace.timeoutMs(leftMs, attemptsLeft, this.landing.roundTripMs);
      try {
        await this.landing.land(lane.partition, messages, timeoutMs);
        return lane.pace.landed(batch.bytes, this.nowMs() - sentAtMs, timeoutMs);
      } catch (error) {
        if (!(error instanceof RetryAfter)) throw error;
        if (error.retryAfterMs <= MAX_RETRY_WAIT_MS) lane.pace.missed();
        if (attempt === MAX_ATTEMPTS || error.retryAfterMs > MAX_RETRY_WAIT_MS) throw error;
        await pause(error.retryAfterMs);
      }
    }
  }
}

// Fills the batch from the front of `submission`. The first event of a batch always fits.
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
    batch.bytes += event.bytes.length;
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

// Waits for all parts, so that no event of a request is in flight once it is answered.
async function allOf(parts: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(parts)) {
    if (result.status === "rejected") throw result.reason;
  }
}

function tooMuchInFlight(refusal: BudgetRefusal): NotStored {
  return refusal === "spent"
    ? new NotStored("in_flight", "the maximum number of events is in flight", FULL_RETRY_MS)
    : new NotStored("fleet_share", "the fleet has its share of events in flight", FULL_RETRY_MS);
}

function deadlineExceeded(): NotStored {
  return new NotStored("no_answer", "JetStream did not acknowledge in time", FULL_RETRY_MS);
}
