/**
 * Reads the observations of all streams from OBSERVATIONS, without a consumer: every process of live
 * reads all of them, from the last minutes on, so that any of them can decide.
 *
 * @module
 */
import type { JetStreamManager, StoredMsg } from "nats/jetstream";
import { OBSERVATIONS, observedSubject } from "../../shared/contract/topology.ts";
import type { HealthPart } from "../../shared/process/health.ts";
import type { Log } from "../../shared/process/log.ts";
import { natsMessageOf } from "../../shared/process/nats.ts";
import { pause } from "../../shared/process/retry.ts";
import { ObservationBatch } from "./observation_batch.ts";

/** Time between two looks while nothing comes, in ms. */
const LOOK_MS = 50;
const MAX_LOOK_MS = 8_000;
const RETRY_MS = 500;
const PAGE_MESSAGES = 64;
const PAGE_BYTES = 8 * 1024 ** 2;
/** Readers write more often; when nothing comes for so long, the stream may be another one. */
const QUIET_MS = 3_000;
/** Looks that fail, after which the stream itself may be another one. */
const TRIES_UNTIL_RESTART = 3;

/** What a feed needs. */
export interface ObservationFeedOptions {
  readonly jsm: JetStreamManager;
  readonly log: Log;
  readonly health: HealthPart;
  /** Called with each batch in its order. */
  readonly onBatch: (stream: string, batch: ObservationBatch) => void;
  /** Called after each look, when nothing more comes at once; resolves when to look again. */
  readonly onLooked: (isAtEnd: boolean) => Promise<void>;
}

/** Reads until its signal is aborted. */
export class ObservationFeed {
  /** Messages that are no batch. */
  unreadable = 0;
  /** Whether it has read to the end once. */
  isCaughtUp = false;
  #next: number | undefined;
  /** When the last message came, by a monotonic clock, and when it was stored, ms since the epoch. */
  #cameMs = performance.now();
  #storedMs: number | undefined;

  constructor(readonly options: ObservationFeedOptions) {}

  /** Reads what was stored since `fromMs`, ms since the epoch, and goes on. Never rejects. */
  async run(fromMs: number, signal: AbortSignal): Promise<void> {
    const { log, health, onLooked } = this.options;
    let failures = 0;
    while (!signal.aborted) {
      try {
        const found = await this.#look(fromMs);
        if (failures > 0) log.info("live.observations.reading");
        failures = 0;
        health.works();
        const isAtEnd = found < PAGE_MESSAGES;
        if (isAtEnd) this.isCaughtUp = true;
        await onLooked(isAtEnd);
        if (isAtEnd) await pause(LOOK_MS, signal);
      } catch (error) {
        const reason = natsMessageOf(error);
        if (failures++ === 0) log.warn("live.observations.not_read", { error: reason });
        health.fails(`observations: ${reason}`);
        // A stream that was made anew has lower sequences.
        if (failures === TRIES_UNTIL_RESTART) this.#next = undefined;
        await onLooked(true).catch(() => {});
        await pause(RETRY_MS, signal);
      }
    }
  }

  // The messages found.
  async #look(fromMs: number): Promise<number> {
    const startMs = this.#storedMs ?? fromMs;
    const start = this.#next === undefined
      ? { start_time: new Date(startMs) }
      : { seq: this.#next };
    const ended = Promise.withResolvers<void>();
    // The client waits without limit once a first message has come.
    const timer = setTimeout(() => ended.reject(new Error("NATS does not answer")), MAX_LOOK_MS);
    let found = 0;
    // With a callback the client ends its subscription; without one it keeps one for each look.
    const page = await this.options.jsm.direct.getBatch(OBSERVATIONS, {
      ...start,
      batch: PAGE_MESSAGES,
      max_bytes: PAGE_BYTES,
      callback: (done, message) => {
        if (done === null) {
          found += 1;
          this.#take(message);
        } else if (done.err === undefined || isNoMore(done.err)) ended.resolve();
        else ended.reject(done.err);
      },
    });
    try {
      await ended.promise;
    } finally {
      clearTimeout(timer);
      page.stop();
    }
    if (found === 0 && performance.now() - this.#cameMs > QUIET_MS) {
      // What comes twice is taken in once.
      this.#next = undefined;
      this.#cameMs = performance.now();
    }
    return found;
  }

  #take({ seq, subject, data, time }: StoredMsg): void {
    this.#next = seq + 1;
    this.#cameMs = performance.now();
    this.#storedMs = time.getTime();
    const batch = ObservationBatch.of(data);
    if (batch === undefined) this.unreadable += 1;
    else this.options.onBatch(subject.slice(observedSubject("").length), batch);
  }
}

// The client does not export the class of this error.
function isNoMore(error: Error): boolean {
  return (error as { code?: unknown }).code === 404;
}
