/**
 * Publishes the observations of one stream, a batch at a time and in their order.
 *
 * The next batch collects while the one before is on its way; a batch with an unknown outcome is
 * published again, and whoever reads it twice takes it in once. Heartbeats are to be acknowledged
 * only once {@link ObservationWriterOptions.onStored} has told that their batch is stored.
 *
 * @module
 */
import type { JetStreamClient } from "nats/jetstream";
import { observedSubject } from "../../shared/contract/topology.ts";
import { natsMessageOf } from "../../shared/process/nats.ts";
import type { Log } from "../../shared/process/log.ts";
import { pause } from "../../shared/process/retry.ts";
import type { WatchedHeartbeat } from "../watch/sessions.ts";
import type { ObservationSink, Reader } from "../watch/reader.ts";
import { BatchBuilder, type Skip } from "./observation_batch.ts";

/** Longest time that an observation waits for others, in ms. */
const LINGER_MS = 100;
/** A stream from which nothing comes is heard all the same: time between two batches, in ms. */
const QUIET_MS = 500;
/** With the largest message, 64 KiB, below NATS' default limit of a message, 1 MiB. */
const MAX_BATCH_BYTES = 700_000;
/** Batches that wait; with more, heartbeats of the oldest are not acknowledged and come again. */
const MAX_WAITING = 64;
const TIMEOUT_MS = 2_000;
const RETRY_MS = 250;

/** What a writer needs. */
export interface ObservationWriterOptions {
  readonly js: JetStreamClient;
  readonly stream: string;
  /** The process that reads. */
  readonly by: string;
  readonly log: Log;
}

interface Waiting {
  readonly bytes: Uint8Array;
  readonly onStored: () => void;
}

/** The observations of one stream that are not stored yet. */
export class ObservationWriter implements ObservationSink {
  readonly #builder = new BatchBuilder();
  readonly #waiting: Waiting[] = [];
  #onStored: () => void = () => {};
  #sending: Promise<void> | undefined;
  #finishedMs = -Infinity;
  #isOver = false;
  reader: Pick<Reader, "heardToMs" | "lagMs"> | undefined;

  constructor(readonly options: ObservationWriterOptions) {}

  /** Whether the process that decides does not get what is read. */
  get isStuck(): boolean {
    return this.#waiting.length >= MAX_WAITING;
  }

  begin(onStored: () => void): void {
    this.#onStored = onStored;
  }
  get isEmpty(): boolean {
    return this.#builder.isEmpty;
  }
  cover(sequence: number, heartbeats: number): void {
    this.#builder.cover(sequence, heartbeats);
  }
  skipTo(skip: Skip, first: number, next: number): void {
    this.#builder.skipTo(skip, first, next);
  }
  add(heartbeat: WatchedHeartbeat, receivedAtMs: number): void {
    this.#builder.add(heartbeat, receivedAtMs);
  }
  end(): void {
    if (this.#builder.maxBytes > MAX_BATCH_BYTES) this.#finish();
  }

  /** Publishes what is collected until `signal` is aborted, and the rest then. */
  async run(signal: AbortSignal): Promise<void> {
    this.#isOver = false;
    while (!signal.aborted) {
      this.tick();
      await pause(LINGER_MS, signal);
    }
    this.tick();
    this.#isOver = true;
    await this.#sending;
  }

  tick(): void {
    const isDue = !this.#builder.isEmpty || performance.now() - this.#finishedMs >= QUIET_MS;
    // While the batch before is on its way, this one may as well grow.
    if (isDue && this.#waiting.length <= 1) this.#finish();
  }

  #finish(): void {
    const { by } = this.options;
    const heard_to = this.reader?.heardToMs ?? null;
    const bytes = this.#builder.finish({ heard_to, lag_ms: this.reader?.lagMs ?? 0, by });
    this.#finishedMs = performance.now();
    this.#waiting.push({ bytes, onStored: this.#onStored });
    this.#onStored = () => {};
    this.#sending ??= this.#send();
  }

  async #send(): Promise<void> {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (await this.#store(next.bytes)) next.onStored();
      this.#waiting.shift();
    }
    this.#sending = undefined;
  }

  // False if it was given up: another process reads the heartbeats again.
  async #store(bytes: Uint8Array): Promise<boolean> {
    const { js, stream, log } = this.options;
    for (let tries = 1;; tries++) {
      try {
        await js.publish(observedSubject(stream), bytes, { timeout: TIMEOUT_MS });
        return true;
      } catch (error) {
        if (tries === 1) {
          log.warn("live.observations.retry", { stream, error: natsMessageOf(error) });
        }
        if (this.#isOver) return false;
        await pause(RETRY_MS);
      }
    }
  }
}
