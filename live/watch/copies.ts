/**
 * Copies of rejected heartbeats on their way to the quarantine, beside the path of the others.
 *
 * Bounded in concurrency, number and time: live may never stall, so a copy that cannot be made is
 * given up. Royalty rejects the same heartbeat and does not give up, so none is lost by it.
 *
 * @module
 */
import { messageOf } from "../../shared/process/errors.ts";
import { pause } from "../../shared/process/retry.ts";
import type { Log } from "../../shared/process/log.ts";

export interface CopyOptions {
  readonly concurrency: number;
  /** Rejects that may wait; more are given up at once. */
  readonly maxWaiting: number;
  readonly giveUpAfterMs: number;
}

interface Job<R> {
  readonly reject: R;
  readonly settled: () => void;
  readonly deadlineMs: number;
}

const RETRY_MS = 250;

/** Makes copies of rejects with `copy`, which resolves once one is safe. */
export class Copies<R> {
  /** Copies made. */
  made = 0;
  /** Copies given up. */
  givenUp = 0;
  readonly #waiting: Job<R>[] = [];
  #active = 0;
  #lastReportMs = -Infinity;

  constructor(
    readonly options: CopyOptions,
    readonly copy: (reject: R) => Promise<void>,
    readonly log: Log,
  ) {}

  /** Nothing waits and nothing is under way. */
  get idle(): boolean {
    return this.#active === 0;
  }

  /** Starts a copy; `settled` is called once, when it is made or given up. */
  submit(reject: R, settled: () => void): void {
    const { concurrency, maxWaiting, giveUpAfterMs } = this.options;
    if (this.#waiting.length >= maxWaiting) {
      this.#giveUp(settled, `${maxWaiting} rejects wait already`);
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
    // Thousands may be given up in a second; one line a second says it.
    const nowMs = performance.now();
    if (nowMs - this.#lastReportMs >= 1_000) {
      this.#lastReportMs = nowMs;
      this.log.error("live.copies.given_up", { given_up: this.givenUp, reason });
    }
    settled();
  }
}
