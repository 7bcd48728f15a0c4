/**
 * Reads one HEARTBEATS stream through the durable `live`, without blocking on any heartbeat.
 *
 * - Every heartbeat is judged and passed on in the order of the stream; a redelivered message
 *   that this process has handled is skipped.
 * - About once a second all messages up to a sequence are acknowledged, but never one with a heartbeat
 *   whose observation is not stored, or a rejected one whose copy to the quarantine is pending. After a
 *   crash, unacknowledged messages are delivered again, so none is missed.
 * - A term begins with a reset of the durable: what another process had received and not
 *   acknowledged would not come again.
 * - When the newest heartbeat is more than {@link MAX_LAG_MS} old while others wait, the durable is
 *   moved to now and what lies between is skipped, and said: on-call has to hear of what happens now.
 * - Reading resumes within about three seconds of a server restart, a new leader or a lost
 *   connection, because pulls expire every second and are requested again.
 *
 * @module
 */
import type {
  Consumer,
  ConsumerInfo,
  JetStreamClient,
  JetStreamManager,
  JsMsg,
} from "nats/jetstream";
import {
  type DeliveredMessage,
  deliveredMessage,
  deliveriesIn,
  type Delivery,
} from "../../shared/contract/delivery/delivery.ts";
import type { Reject } from "../../shared/contract/quarantine.ts";
import { messageOf, RetryAfter } from "../../shared/process/errors.ts";
import { type Heartbeat, judge } from "../../shared/contract/event.ts";
import { isCanary } from "../../shared/contract/canary/canary.ts";
import { pause, untilReady } from "../../shared/process/retry.ts";
import type { Log } from "../../shared/process/log.ts";
import { DURABLE } from "../../shared/contract/topology.ts";
import { AckFloor } from "./ack_floor.ts";
import type { Copies } from "./copies.ts";
import { ReceiptClock } from "./receipt_clock.ts";

/** Takes in what a reader reads. */
export interface ObservationSink {
  /** Whether the batch that collects covers nothing yet. */
  readonly isEmpty: boolean;
  /** Notes what to call once the batch that begins now is stored. */
  begin(onStored: () => void): void;
  /** Notes that a message with so many heartbeats was read. */
  cover(sequence: number, heartbeats: number): void;
  /** Notes that messages from `first` to before `next` were skipped. */
  skipTo(
    skip: { readonly events: number; readonly fromMs: number; readonly toMs: number },
    first: number,
    next: number,
  ): void;
  /** Adds a heartbeat of the message that was covered last; `receivedAtMs` is ms since the epoch. */
  add(heartbeat: Heartbeat, receivedAtMs: number): void;
  /** Notes that the message covered last was added: a batch ends between two messages. */
  end(): void;
}

/** Options and dependencies of a {@link Reader}. */
export interface ReaderOptions {
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly stream: string;
  readonly copies: Pick<Copies<Reject>, "submit">;
  readonly sink: ObservationSink;
  /** Called once with each canary, which is no heartbeat of a viewer. Must not throw. */
  readonly onCanary: (eventId: string, delivery: Delivery) => void;
  /** Called with each valid heartbeat once; must not throw. */
  readonly onHeartbeat: (heartbeat: Heartbeat, receivedAtMs: number) => void;
  /** Called when heartbeats may have been missed. */
  readonly onGap: () => void;
  readonly log: Log;
  /** Lag beyond which the reader jumps to now, in ms of receipt; {@link MAX_LAG_MS} by default. */
  readonly maxLagMs?: number;
}

/**
 * Maximum messages per pull: over a second of the design load, about ten megabytes and 128 MiB at most.
 */
const MAX_PULL_MESSAGES = 2_000;
/** The least, after a jump: what is on its way then is received for nothing. */
const MIN_PULL_MESSAGES = 20;
/** Time of reading that a pull after a jump is good for, in ms. */
const PULL_MS = 250;
/** The client's minimum; it bounds the time until a lost pull is detected. */
const PULL_EXPIRES_MS = 1_000;
/** Acknowledge after this time or this number of messages, whichever is first. */
const ACK_INTERVAL_MS = 1_000;
const ACK_INTERVAL_MESSAGES = 10_000;
/** Half of the durable's `max_ack_pending`, at which the server would stop delivering. */
const MAX_UNACKNOWLEDGED_MESSAGES = 100_000;
const INFO_INTERVAL_MS = 1_000;
/** Time without progress or an answer before not ready; longer than a restart of the server. */
const MAX_STALL_MS = 10_000;
/** Lag beyond which a reader jumps to now, in ms of receipt. */
export const MAX_LAG_MS = 5_000;
/**
 * The same soon after a jump, while reading falls behind: when jumps are many, shorter ones let a fresh
 * incident be seen sooner.
 */
const MAX_LAG_AGAIN_MS = 800;
const SOON_MS = 60_000;
const LAG_CHECK_MS = 200;

/** Reads one stream, a term at a time. */
export class Reader {
  /** Heartbeats judged, valid or not. */
  events = 0;
  /** Heartbeats judged unusable. */
  rejected = 0;
  /** Messages skipped because this process had handled them. */
  redelivered = 0;
  /** Rejected heartbeats acknowledged before their copy, so that the server keeps delivering. */
  overtaken = 0;
  /** Heartbeats skipped because they were too old, about: their messages were not read. */
  skipped = 0;
  /** Messages that the durable has not delivered yet. */
  lag = 0;
  /** Whether the durable had delivered anything before this process started. */
  deliveredBefore = false;
  /** Whether this process reads the stream. */
  isReading = false;
  /** The clock of the stream. */
  clock = new ReceiptClock();

  readonly #options: ReaderOptions;
  #floor = new AckFloor<JsMsg>();
  #consumerCreated?: string;
  #sinceAck = 0;
  /** Messages handled. */
  #messages = 0;
  #deliveries = 0;
  #deliveriesKnown = 0;
  #progressMs = performance.now();
  #answerMs = -Infinity;
  /** The newest message, its receipt, and when it was handled. */
  #newest: JsMsg | undefined;
  #newestReceivedMs = -Infinity;
  #newestHeardMs = -Infinity;
  /** What the server's clock showed at that monotonic time. */
  #serverMs = Number.NaN;
  #serverAtMs = 0;
  /** The last sequence of the stream, as far as known. */
  #lastSequence = 0;
  /** Deliveries below are of before a jump. */
  #fromSequence = 0;
  #jumpedMs = -Infinity;
  #pullMessages = MAX_PULL_MESSAGES;
  /** Ends the pulls so far. */
  #stopPulling = () => {};
  /** Deliveries and time since the last jump or begin. */
  #measuredFrom = { deliveries: 0, atMs: performance.now() };
  #isJumping = false;
  #lastCheck = { lagMs: 0, deliveries: 0 };

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  /** Name of the stream. */
  get stream(): string {
    return this.#options.stream;
  }

  /** Whether NATS has answered about the durable within {@link MAX_STALL_MS}. */
  get reachable(): boolean {
    return performance.now() - this.#answerMs < MAX_STALL_MS;
  }

  /** Why the reader makes no progress, or undefined when it does or nothing is pending. */
  get notReady(): string | undefined {
    const { stream } = this.#options;
    if (!this.isReading) return undefined;
    if (!this.reachable) return `NATS does not answer about the durable live of ${stream}`;
    const stalledMs = performance.now() - this.#progressMs;
    if (this.lag === 0 || stalledMs < MAX_STALL_MS) return undefined;
    const stalledSeconds = Math.round(stalledMs / 1000);
    return `${stream} has ${this.lag} messages for live, none arrived for ${stalledSeconds} s`;
  }

  /**
   * The receipt time up to which this stream was heard; undefined while nothing is known, or while
   * heartbeats wait that do not arrive.
   */
  get heardToMs(): number | undefined {
    if (this.notReady !== undefined) return undefined;
    this.#proveByNewest();
    return this.clock.nowMs(performance.now());
  }

  /** How old the newest heartbeat is by the server's clock while others wait, in ms; else 0. */
  get lagMs(): number {
    if (!this.isReading || this.lag === 0 || Number.isNaN(this.#serverMs)) return 0;
    if (this.#newestReceivedMs === -Infinity) return 0;
    return Math.max(0, this.#serverNowMs - this.#newestReceivedMs);
  }

  get #serverNowMs(): number {
    return this.#serverMs + performance.now() - this.#serverAtMs;
  }

  /** Waits until the durable exists. */
  async waitForDurable(signal: AbortSignal): Promise<void> {
    const consumer = await untilReady(signal, this.#options.log, () => this.#consumer());
    const askedMs = performance.now();
    const info = await consumer.info(true);
    this.#onInfo(info, askedMs);
    this.deliveredBefore = info.delivered.stream_seq > 0;
  }

  /** Reads until `signal` is aborted; retries after every failure of the connection. */
  async run(signal: AbortSignal): Promise<void> {
    this.#begin();
    const timers = [
      setInterval(() => this.#acknowledge(), ACK_INTERVAL_MS),
      setInterval(() => this.#jumpIfLate(), LAG_CHECK_MS),
    ];
    const watching = this.#watchLag(signal);
    while (!signal.aborted) {
      try {
        const { log, jsm, stream } = this.#options;
        const consumer = await untilReady(signal, log, () => this.#consumer());
        if (this.#floor.handledTo === 0) await jsm.consumers.reset(stream, DURABLE.live);
        await this.#consume(consumer, signal);
      } catch (error) {
        if (signal.aborted) break;
        const { log, stream } = this.#options;
        log.warn("live.reading.interrupted", { stream, error });
        await pause(ACK_INTERVAL_MS, signal);
      }
    }
    for (const timer of timers) clearInterval(timer);
    await watching;
  }

  #begin(): void {
    this.isReading = true;
    this.clock = new ReceiptClock();
    this.#floor = new AckFloor();
    this.#newest = undefined;
    this.#newestReceivedMs = -Infinity;
    this.#progressMs = performance.now();
    this.#options.onGap();
  }

  /** Acknowledges everything handled, after {@link run}; resolves once the server confirms it. */
  async finish(): Promise<void> {
    this.isReading = false;
    await this.#floor.take()?.ackAck({ timeout: 2_000 });
  }

  async #consume(consumer: Consumer, signal: AbortSignal): Promise<void> {
    let isStopped = false;
    const messages = await consumer.consume({
      max_messages: this.#pullMessages,
      expires: PULL_EXPIRES_MS,
      // After a stop the client goes on with what it has received.
      callback: (message) => isStopped ? undefined : this.#handle(message),
    });
    const stop = () => {
      isStopped = true;
      messages.stop();
    };
    this.#stopPulling = stop;
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    const error = await messages.closed();
    signal.removeEventListener("abort", stop);
    if (error) throw error;
  }

  #handle(message: JsMsg): void {
    const delivered = deliveredMessage(message);
    const { sequence, receivedAtMs, redelivered, events } = delivered;
    this.#deliveries += 1;
    if (sequence < this.#fromSequence) return;
    if (sequence <= this.#floor.handledTo) {
      this.redelivered += 1;
      if (redelivered) this.#floor.redelivered();
      return;
    }
    this.#cover(delivered);
    this.#floor.handled(sequence, message);
    this.events += events.length;
    this.#messages += 1;
    this.#newest = message;
    if (receivedAtMs !== this.#newestReceivedMs) this.#hear(receivedAtMs);
    for (const delivery of deliveriesIn(delivered)) this.#judge(delivery);
    this.#options.sink.end();
    if (++this.#sinceAck >= ACK_INTERVAL_MESSAGES) this.#acknowledge();
  }

  #judge(delivery: Delivery): void {
    const judgement = judge(delivery.bytes);
    if (judgement.ok && isCanary(judgement.heartbeat)) {
      this.#options.onCanary(judgement.heartbeat.event_id, delivery);
      return;
    }
    if (judgement.ok) {
      this.#options.sink.add(judgement.heartbeat, delivery.receivedAtMs);
      this.#options.onHeartbeat(judgement.heartbeat, delivery.receivedAtMs);
      return;
    }
    // The bytes are a view of a socket's buffer; a waiting reject would keep the whole buffer.
    const kept = { ...delivery, bytes: delivery.bytes.slice() };
    this.#reject({
      stream: this.#options.stream,
      delivery: kept,
      rejection: judgement.rejection,
    });
  }

  // The floor stays below the first heartbeat of a batch until the batch is stored.
  #cover({ sequence, events }: DeliveredMessage): void {
    const { sink } = this.#options;
    if (sink.isEmpty) this.#holdBatch(sequence);
    sink.cover(sequence, events.length);
  }

  // Half below, so that a reject with the same sequence is held for itself.
  #holdBatch(sequence: number): void {
    const floor = this.#floor;
    floor.hold(sequence - 0.5);
    this.#options.sink.begin(() => floor.release(sequence - 0.5));
  }

  #hear(receivedMs: number): void {
    this.#newestReceivedMs = receivedMs;
    this.#newestHeardMs = performance.now();
    this.clock.heard(receivedMs, this.#newestHeardMs);
  }

  // A message that left none behind it in the stream proves that all was heard when it was sent.
  #proveByNewest(): void {
    if (this.#newest?.info.pending === 0) this.clock.proved(this.#newestHeardMs);
    this.#newest = undefined;
  }

  #reject(reject: Reject): void {
    const { sequence } = reject.delivery;
    this.rejected += 1;
    const floor = this.#floor;
    floor.hold(sequence);
    this.#options.copies.submit(reject, () => floor.release(sequence));
  }

  #acknowledge(): void {
    this.#sinceAck = 0;
    if (this.#floor.unacknowledged > MAX_UNACKNOWLEDGED_MESSAGES) {
      // Batches are held at halves: what nobody has observed is not overtaken.
      this.overtaken += this.#floor.releaseAll(Number.isInteger);
    }
    this.#floor.take()?.ack();
  }

  async #consumer(): Promise<Consumer> {
    const { js, stream } = this.#options;
    try {
      return await js.consumers.get(stream, DURABLE.live);
    } catch (error) {
      throw new RetryAfter(`durable live of ${stream}: ${messageOf(error)}`, 1_000, {
        cause: error,
      });
    }
  }

  async #watchLag(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const consumer = await this.#consumer();
        const askedMs = performance.now();
        this.#onInfo(await consumer.info(true), askedMs);
      } catch {
        // `reachable` becomes false when this continues.
      }
      await pause(INFO_INTERVAL_MS, signal);
    }
  }

  #onInfo(info: ConsumerInfo, askedMs: number): void {
    this.#answerMs = performance.now();
    this.lag = info.num_pending;
    this.#lastSequence = info.delivered.stream_seq + info.num_pending;
    this.#serverMs = Date.parse(info.ts ?? "");
    this.#serverAtMs = this.#answerMs;
    // The stream or durable was recreated: sequences start again.
    const isRecreated = this.#consumerCreated && this.#consumerCreated !== info.created;
    if (isRecreated) {
      this.#floor = new AckFloor();
      this.#fromSequence = 0;
    }
    this.#consumerCreated = info.created;
    const handledTo = Math.max(this.#floor.handledTo, info.ack_floor.stream_seq);
    if (this.lag === 0 && info.delivered.stream_seq <= handledTo) {
      this.clock.proved(askedMs, this.#serverMs);
    }
    if (this.lag === 0 || this.#deliveries > this.#deliveriesKnown) {
      this.#progressMs = this.#answerMs;
      this.#deliveriesKnown = this.#deliveries;
    }
  }

  #jumpIfLate(): void {
    const isSettled = performance.now() - this.#jumpedMs > SOON_MS;
    if (isSettled && this.#pullMessages < MAX_PULL_MESSAGES) this.#pull(MAX_PULL_MESSAGES);
    const { maxLagMs = MAX_LAG_MS } = this.#options;
    const isTooMuch = this.#fallsBehind() && !isSettled;
    if (!isTooMuch && this.lagMs <= maxLagMs || this.#isJumping) return;
    this.#isJumping = true;
    this.#jump().catch((error) => {
      const { log, stream } = this.#options;
      log.warn("live.reading.not_skipped", { stream, reason: messageOf(error) });
    }).finally(() => this.#isJumping = false);
  }

  // Whether it reads, but less than comes. After a pause of the server it reads more, and catches up.
  #fallsBehind(): boolean {
    const last = this.#lastCheck;
    this.#lastCheck = { lagMs: this.lagMs, deliveries: this.#deliveries };
    return this.lagMs > MAX_LAG_AGAIN_MS && this.lagMs > last.lagMs &&
      this.#deliveries > last.deliveries;
  }

  // Moves the durable to now; what the client has received of before is dropped.
  async #jump(): Promise<void> {
    const { jsm, stream, log, sink, onGap } = this.#options;
    const info = await jsm.consumers.info(stream, DURABLE.live);
    this.#onInfo(info, performance.now());
    const next = this.#lastSequence + 1;
    const { handledTo } = this.#floor;
    if (handledTo === 0 || next <= handledTo + 1) return;
    // From here on nothing below is handled, whether the server has moved or not; what comes after
    // it may be delivered before the server has answered.
    this.#fromSequence = next;
    this.#jumpedMs = performance.now();
    const skip = {
      events: Math.round((next - 1 - handledTo) * this.#eventsPerMessage),
      fromMs: this.#newestReceivedMs,
      toMs: this.#serverNowMs,
    };
    this.skipped += skip.events;
    this.overtaken += this.#floor.releaseAll(Number.isInteger);
    if (sink.isEmpty) this.#holdBatch(handledTo + 1);
    sink.skipTo(skip, handledTo + 1, next);
    this.#newestReceivedMs = skip.toMs;
    this.clock.heard(skip.toMs, this.#jumpedMs);
    onGap();
    log.warn("live.reading.skipped", { stream, events: skip.events, to: next });
    await jsm.consumers.reset(stream, DURABLE.live, next);
    this.#pullWhatIsRead();
  }

  // Of messages that are not read, the number of heartbeats is not known.
  get #eventsPerMessage(): number {
    return this.#messages === 0 ? 1 : this.events / this.#messages;
  }

  // As many messages a pull as are read in a short time: the next jump drops what is on its way.
  #pullWhatIsRead(): void {
    const { deliveries, atMs } = this.#measuredFrom;
    const nowMs = performance.now();
    const perMs = (this.#deliveries - deliveries) / Math.max(1, nowMs - atMs);
    this.#measuredFrom = { deliveries: this.#deliveries, atMs: nowMs };
    const messages = Math.round(perMs * PULL_MS);
    this.#pull(Math.min(MAX_PULL_MESSAGES, Math.max(MIN_PULL_MESSAGES, messages)));
  }

  #pull(messages: number): void {
    this.#pullMessages = messages;
    this.#stopPulling();
  }
}
