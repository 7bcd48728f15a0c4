/**
 * Reads one HEARTBEATS stream through the durable `live`, without blocking on any heartbeat.
 *
 * - Every heartbeat is judged and passed on in the order of the stream; a redelivered heartbeat
 *   that this process has handled is skipped.
 * - About once a second all heartbeats up to a sequence are acknowledged, but never a rejected one
 *   whose copy to the quarantine is pending. After a crash, unacknowledged heartbeats are delivered
 *   again: live may count a second twice, but misses none.
 * - Reading resumes within about three seconds of a server restart, a new leader or a lost
 *   connection, because pulls expire every second and are requested again.
 *
 * @module
 */
import type { Consumer, ConsumerInfo, JetStreamClient, JsMsg } from "nats/jetstream";
import { type Delivery, deliveryOf } from "../../shared/contract/delivery.ts";
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

/** Options and dependencies of a {@link Reader}. */
export interface ReaderOptions {
  readonly js: JetStreamClient;
  readonly stream: string;
  readonly copies: Pick<Copies<Reject>, "submit">;
  /** Called once with each canary, which is no heartbeat of a viewer. Must not throw. */
  readonly onCanary: (eventId: string, delivery: Delivery) => void;
  /** Called once with each valid heartbeat; `receivedAtMs` is ms since the epoch. Must not throw. */
  readonly onHeartbeat: (heartbeat: Heartbeat, receivedAtMs: number) => void;
  readonly log: Log;
}

/** Maximum messages per pull: about half a second of the design load, a few megabytes. */
const MAX_PULL_MESSAGES = 20_000;
/** The client's minimum; it bounds the time until a lost pull is detected. */
const PULL_EXPIRES_MS = 1_000;
/** Acknowledge after this time or this number of events, whichever is first. */
const ACK_INTERVAL_MS = 1_000;
const ACK_INTERVAL_EVENTS = 10_000;
/** Half of the durable's `max_ack_pending`, at which the server would stop delivering. */
const MAX_UNACKNOWLEDGED_EVENTS = 100_000;
const INFO_INTERVAL_MS = 2_000;
/** Time without progress or an answer before not ready; longer than a restart of the server. */
const MAX_STALL_MS = 10_000;

/** Reads one stream until its signal is aborted. */
export class Reader {
  /** Heartbeats judged, valid or not. */
  events = 0;
  /** Heartbeats judged unusable. */
  rejected = 0;
  /** Deliveries skipped because this process had handled them. */
  redelivered = 0;
  /** Rejected heartbeats acknowledged before their copy, so that the server keeps delivering. */
  overtaken = 0;
  /** Heartbeats that the durable has not delivered yet. */
  lag = 0;
  /** Whether the durable had delivered anything before this process started. */
  deliveredBefore = false;
  /** The clock of the stream. */
  readonly clock = new ReceiptClock();

  readonly #options: ReaderOptions;
  #floor = new AckFloor<JsMsg>();
  #consumerCreated?: string;
  #sinceAck = 0;
  #deliveries = 0;
  #deliveriesKnown = 0;
  #progressMs = performance.now();
  #answerMs = -Infinity;
  /** The newest message, its receipt, and when it was handled. */
  #newest: JsMsg | undefined;
  #newestReceivedMs = -Infinity;
  #newestHeardMs = -Infinity;

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
    if (!this.reachable) return `NATS does not answer about the durable live of ${stream}`;
    const stalledMs = performance.now() - this.#progressMs;
    if (this.lag === 0 || stalledMs < MAX_STALL_MS) return undefined;
    const stalledSeconds = Math.round(stalledMs / 1000);
    return `${stream} has ${this.lag} heartbeats for live, none arrived for ${stalledSeconds} s`;
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

  /** Waits until the durable exists; {@link run} starts reading. */
  async waitForDurable(signal: AbortSignal): Promise<void> {
    const consumer = await untilReady(signal, this.#options.log, () => this.#consumer());
    const askedMs = performance.now();
    const info = await consumer.info(true);
    this.#onInfo(info, askedMs);
    this.deliveredBefore = info.delivered.stream_seq > 0;
  }

  /** Reads until `signal` is aborted; retries after every failure of the connection. */
  async run(signal: AbortSignal): Promise<void> {
    const timer = setInterval(() => this.#acknowledge(), ACK_INTERVAL_MS);
    const watching = this.#watchLag(signal);
    while (!signal.aborted) {
      try {
        await this.#consume(
          await untilReady(signal, this.#options.log, () => this.#consumer()),
          signal,
        );
      } catch (error) {
        if (signal.aborted) break;
        const { log, stream } = this.#options;
        log.warn("live.reading.interrupted", { stream, error });
        await pause(ACK_INTERVAL_MS, signal);
      }
    }
    clearInterval(timer);
    await watching;
  }

  /** Acknowledges everything handled, after {@link run}; resolves once the server confirms it. */
  async finish(): Promise<void> {
    await this.#floor.take()?.ackAck({ timeout: 2_000 });
  }

  async #consume(consumer: Consumer, signal: AbortSignal): Promise<void> {
    const messages = await consumer.consume({
      max_messages: MAX_PULL_MESSAGES,
      expires: PULL_EXPIRES_MS,
      callback: (message) => this.#handle(message),
    });
    const stop = () => messages.stop();
    signal.addEventListener("abort", stop, { once: true });
    const error = await messages.closed();
    signal.removeEventListener("abort", stop);
    if (error) throw error;
  }

  #handle(message: JsMsg): void {
    const delivery = deliveryOf(message);
    this.#deliveries += 1;
    if (delivery.sequence <= this.#floor.handledTo) {
      this.redelivered += 1;
      if (delivery.redelivered) this.#floor.redelivered();
      return;
    }
    this.#floor.handled(delivery.sequence, message);
    this.events += 1;
    this.#newest = message;
    if (delivery.receivedAtMs !== this.#newestReceivedMs) this.#hear(delivery.receivedAtMs);
    const judgement = judge(delivery.bytes);
    if (judgement.ok && isCanary(judgement.heartbeat)) {
      this.#options.onCanary(judgement.heartbeat.event_id, delivery);
    } else if (judgement.ok) {
      this.#options.onHeartbeat(judgement.heartbeat, delivery.receivedAtMs);
    } else {
      // The bytes are a view of a socket's buffer; a waiting reject would keep the whole buffer.
      const kept = { ...delivery, bytes: delivery.bytes.slice() };
      this.#reject({
        stream: this.#options.stream,
        delivery: kept,
        rejection: judgement.rejection,
      });
    }
    if (++this.#sinceAck >= ACK_INTERVAL_EVENTS) this.#acknowledge();
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
    if (this.#floor.unacknowledged > MAX_UNACKNOWLEDGED_EVENTS) {
      this.overtaken += this.#floor.releaseAll();
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
    // The stream or durable was recreated: sequences start again.
    const isRecreated = this.#consumerCreated && this.#consumerCreated !== info.created;
    if (isRecreated) this.#floor = new AckFloor();
    this.#consumerCreated = info.created;
    const handledTo = Math.max(this.#floor.handledTo, info.ack_floor.stream_seq);
    if (this.lag === 0 && info.delivered.stream_seq <= handledTo) {
      this.clock.proved(askedMs, Date.parse(info.ts ?? ""));
    }
    if (this.lag === 0 || this.#deliveries > this.#deliveriesKnown) {
      this.#progressMs = this.#answerMs;
      this.#deliveriesKnown = this.#deliveries;
    }
  }
}
