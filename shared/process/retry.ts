/**
 * Waits and retries.
 *
 * @module
 */
import { RetryAfter } from "./errors.ts";
import type { HealthPart } from "./health.ts";
import type { Log } from "./log.ts";

/**
 * Calls `attempt` until it succeeds, and returns its result. Retries after a {@link RetryAfter},
 * with its wait; rejects with any other error, and with the reason of `signal` once aborted. `part`
 * fails with the message of the last error, and works after the success.
 */
export async function untilReady<T>(
  signal: AbortSignal,
  log: Log,
  attempt: () => Promise<T>,
  part?: HealthPart,
): Promise<T> {
  for (;;) {
    signal.throwIfAborted();
    try {
      const result = await attempt();
      part?.works();
      return result;
    } catch (error) {
      if (!(error instanceof RetryAfter)) throw error;
      part?.fails(error.message);
      log.warn("service.retry", { error });
      await pause(error.retryAfterMs, signal);
    }
  }
}

/** Resolves after `ms`, or as soon as `signal` is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}
