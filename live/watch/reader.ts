/**
 * Reading one HEARTBEATS stream through the durable `live`: fast, without ever waiting.
 *
 * - Every heartbeat is judged and handed over in the order of the stream; one that this process
 *   has handled already is skipped when it comes again.
 * - Acknowledgement follows about once a second, all up to a sequence at once, and never passes a
 *   rejected heartbeat whose copy is on its way to the quarantine. A crash repeats what was not
 *   acknowledged: live may miscount a second, it does not miss one.
 * - A server restart, a new leader or a cut connection is over within about three seconds, because
 *   pulls expire every second and are asked for again.
 *
 * @module
 */
import type { Consumer, ConsumerInfo, JetStreamClient, JsMsg } from "nats/jetstream";
import { deliveryOf } from "../../shared/contract/delivery.ts";
import type { Reject } from "../../shared/contract/quarantine.ts";
import { messageOf, RetryAfter } from "../../shared/process/errors.ts";
import { type Heartbeat, judge } from "../../shared/contract/event.ts";
import { pause, untilReady } from "../../shared/process/retry.ts";
import type { Log } from "../../shared/process/log.ts";
import { DURABLE } from "../../shared/contract/topology.ts";
import { AckFloor } from "./ack_floor.ts";
import type { Copies } from "./copies.ts";

export interface ReaderOptions {
  readonly js: JetStreamClient;
  readonly stream: string;
  readonly copies: Pick<Copies<Reject>, "submit">;
  /** Given each valid heartbeat once. Must not throw. */
  readonly heartbeat: (heartbeat: Heartbeat, receivedAt: number) => void;
  readonly log: Log;
}

/** Pull size: about half a second of the design load, a few megabytes. */
const MAX_MESSAGES = 20_000;
/** The least that the client allows; it bounds how long a lost pull goes unnoticed. */
const PULL_EXPIRES_MS = 1_000;
const ACK_EVERY_MS = 1_000;
const ACK_EVERY_EVENTS = 10_000;
/** Half of the durable's `max_ack_pending`, at which the server would stop delivering. */
const MAX_UNACKNOWLEDGED = 100_000;
const INFO_EVERY_MS = 2_000;
/** Longer without progress or an answer than a restart of the server takes. */
const STALLED_AFTER_MS = 10_000;

/** Reads one stream until its signal is aborted. */
export class Reader {
  /** Heartbeats judged, valid or not. */
  events = 0;
  rejected = 0;
  /** Deliveries skipped because this process had handled them. */
  redelivered = 0;
  /** Holds given up because the server was about to stop delivering. */
  overtaken = 0;
  /** Heartbeats that the durable has still to deliver. */
  lag = 0;
  /** Whether the durable delivered anything before this process. */
  deliveredBefore = false;

  readonly #options: ReaderOptions;
  #floor = new AckFloor<JsMsg>();
  #created?: string;
  #sinceAck = 0;
  #deliveries = 0;
  #deliveriesKnown = 0;
  #progressMs = performance.now();
  #answerMs = -Infinity;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  /** The stream that is read. */
  get stream(): string {
    return this.#options.stream;
  }

  /** NATS has answered for this stream lately. */
  get reachable(): boolean {
    return performance.now() - this.#answerMs < STALLED_AFTER_MS;
  }

  /** Why no heartbeats are read though there are some, or undefined. */
  get notReady(): string | undefined {
    const { stream } = this.#options;
    if (!this.reachable) return `NATS does not answer about the durable live of ${stream}`;
    const stalledMs = performance.now() - this.#progressMs;
    if (this.lag === 0 || stalledMs < STALLED_AFTER_MS) return undefined;
    return `${stream} has ${this.lag} heartbeats for live, none came in ${
      Math.round(stalledMs / 1000)
    } s`;
  }

  /** Waits for the durable to exist; reading starts with {@link run}. */
  async find(signal: AbortSignal): Promise<void> {
    const consumer = await untilReady(signal, this.#options.log, () => this.#find());
    const info = await consumer.info(true);
    this.#heardFrom(info);
    this.deliveredBefore = info.delivered.stream_seq > 0;
  }

  /** Reads until `signal` is aborted, whatever the connection goes through. */
  async run(signal: AbortSignal): Promise<void> {
    const timer = setInterval(() => this.#acknowledge(), ACK_EVERY_MS);
    const watching = this.#watchLag(signal);
    while (!signal.aborted) {
      try {
        await this.#consume(
          await untilReady(signal, this.#options.log, () => this.#find()),
          signal,
        );
      } catch (error) {
        if (signal.aborted) break;
        const { log, stream } = this.#options;
        log.warn("live.reading.interrupted", { stream, error });
        await pause(ACK_EVERY_MS, signal);
      }
    }
    clearInterval(timer);
    await watching;
  }

  /** Acknowledges what may be, at the end of reading; resolves once the server has heard. */
  async finish(): Promise<void> {
    await this.#floor.take()?.ackAck({ timeout: 2_000 });
  }

  async #consume(consumer: Consumer, signal: AbortSignal): Promise<void> {
    const messages = await consumer.consume({
      max_messages: MAX_MESSAGES,
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
    const judgement = judge(delivery.bytes);
    if (judgement.ok) {
      this.#options.heartbeat(judgement.heartbeat, delivery.receivedAt);
    } else {
      // The bytes are a view of a socket's buffer, which a reject that waits would keep whole.
      const kept = { ...delivery, bytes: delivery.bytes.slice() };
      this.#reject({
        stream: this.#options.stream,
        delivery: kept,
        rejection: judgement.rejection,
      });
    }
    if (++this.#sinceAck >= ACK_EVERY_EVENTS) this.#acknowledge();
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
    if (this.#floor.unacknowledged > MAX_UNACKNOWLEDGED) {
      this.overtaken += this.#floor.releaseAll();
    }
    this.#floor.take()?.ack();
  }

  async #find(): Promise<Consumer> {
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
        this.#heardFrom(await (await this.#find()).info(true));
      } catch {
        // `reachable` turns false when this goes on.
      }
      await pause(INFO_EVERY_MS, signal);
    }
  }

  #heardFrom(info: ConsumerInfo): void {
    this.#answerMs = performance.now();
    this.lag = info.num_pending;
    // Somebody made the stream or durable anew: sequences begin again.
    if (this.#created && this.#created !== info.created) this.#floor = new AckFloor();
    this.#created = info.created;
    if (this.lag === 0 || this.#deliveries > this.#deliveriesKnown) {
      this.#progressMs = this.#answerMs;
      this.#deliveriesKnown = this.#deliveries;
    }
  }
}
