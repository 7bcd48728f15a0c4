/**
 * Copies rejected heartbeats to the quarantine, without blocking the other heartbeats.
 *
 * Bounded in concurrency, number and time: live must not stall, so a copy that cannot be made in
 * time is given up. Royalty rejects the same heartbeat, keeps it in the books and copies it when it
 * can, so no entry is lost.
 *
 * @module
 */
import { messageOf } from "../../shared/process/errors.ts";
import { pause } from "../../shared/process/retry.ts";
import type { Log } from "../../shared/process/log.ts";

/** Limits of {@link Copies}. */
export interface CopyOptions {
  /** Maximum copies in progress. */
  readonly concurrency: number;
  /** Maximum rejects that wait; more are given up at once. */
  readonly maxWaiting: number;
  /** Maximum time from `submit` to the outcome, in ms. */
  readonly giveUpAfterMs: number;
}

interface Job<R> {
  readonly reject: R;
  readonly settled: () => void;
  readonly deadlineMs: number;
}

const RETRY_MS = 250;

/** Copies rejects with `copy`, which resolves once the copy is stored. */
export class Copies<R> {
  /** Number of copies made. */
  made = 0;
  /** Number of copies given up. */
  givenUp = 0;
  readonly #waiting: Job<R>[] = [];
  #active = 0;
  #lastReportMs = -Infinity;

  constructor(
    readonly options: CopyOptions,
    readonly copy: (reject: R) => Promise<void>,
    readonly log: Log,
  ) {}

  /** Whether no reject waits and no copy is in progress. */
  get idle(): boolean {
    return this.#active === 0;
  }

  /** Queues a copy; calls `settled` once, when it is made or given up. */
  submit(reject: R, settled: () => void): void {
    const { concurrency, maxWaiting, giveUpAfterMs } = this.options;
    if (this.#waiting.length >= maxWaiting) {
      this.#giveUp(settled, `${maxWaiting} rejects are waiting already`);
      return;
    }
    this.#waiting.push({ reject, settled, deadlineMs: performance.now() + giveUpAfterMs });
    if (this.#active < concurrency) void this.#work();
  }

  async #work(): Promise<void> {
    this.#active += 1;
    for (let job = this.#waiting.shift(); job; job = this.#waiting.shift()) await this.#make(job);
    this.#active -= 1;
  }

  async #make({ reject, settled, deadlineMs }: Job<R>): Promise<void> {
    for (;;) {
      try {
        await this.copy(reject);
        this.made += 1;
        return settled();
      } catch (error) {
        if (performance.now() + RETRY_MS >= deadlineMs) {
          return this.#giveUp(settled, messageOf(error));
        }
      }
      await pause(RETRY_MS);
    }
  }

  #giveUp(settled: () => void, reason: string): void {
    this.givenUp += 1;
    // Thousands may be given up in a second: log at most one line per second.
    const nowMs = performance.now();
    if (nowMs - this.#lastReportMs >= 1_000) {
      this.#lastReportMs = nowMs;
      this.log.error("live.copies.given_up", { given_up: this.givenUp, reason });
    }
    settled();
  }
}
