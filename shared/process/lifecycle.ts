/**
 * How a process starts, stays up and stops.
 *
 * @module
 */
import { messageOf, RetryAfter, Stop } from "./errors.ts";
import type { Log } from "./log.ts";

/** Longest that an orderly stop may take before the process ends anyway, in ms. */
const STOP_DEADLINE_MS = 12_000;

/** What a service's `main` is given. */
export interface Lifecycle {
  /** Aborted when the process should stop. */
  readonly signal: AbortSignal;
  /** Runs `step` at the stop; the last one registered runs first. */
  onStop(name: string, step: () => void | Promise<void>): void;
  /** Begins the stop because of `reason`; the process exits with status 1. */
  fail(reason: unknown): void;
}

/**
 * Runs a service until SIGTERM, SIGINT or a failure, then its stop steps in reverse order, then
 * exits: 0 after a signal, 1 (or the code of a {@link Stop}) after a failure.
 */
export async function runService(
  log: Log,
  start: (life: Lifecycle) => Promise<void>,
): Promise<never> {
  const abort = new AbortController();
  const steps: { name: string; step: () => void | Promise<void> }[] = [];
  let exitCode = 0;
  const fail = (reason: unknown) => {
    if (abort.signal.aborted) return;
    exitCode = reason instanceof Stop ? reason.exitCode : 1;
    log.error("stopping", { error: messageOf(reason) });
    abort.abort(reason);
  };
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, () => abort.abort(name));
  }
  // A rejection nobody awaits is a bug; a crash that is restarted beats a process half alive.
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    fail(event.reason);
  });
  const stopped = new Promise<void>((resolve) =>
    abort.signal.addEventListener("abort", () => resolve())
  );
  const life: Lifecycle = {
    signal: abort.signal,
    onStop: (name, step) => void steps.push({ name, step }),
    fail,
  };
  // Not awaited: a signal must end a start that hangs, too.
  start(life).catch(fail);
  await stopped;
  await runSteps(steps.reverse(), log);
  log.info("stopped", { exitCode });
  Deno.exit(exitCode);
}

async function runSteps(
  steps: readonly { name: string; step: () => void | Promise<void> }[],
  log: Log,
): Promise<void> {
  const deadline = setTimeout(() => {
    log.error("the stop took too long", { deadlineMs: STOP_DEADLINE_MS });
    Deno.exit(1);
  }, STOP_DEADLINE_MS);
  for (const { name, step } of steps) {
    try {
      await step();
    } catch (error) {
      log.warn(`stop step ${name} failed`, { error: messageOf(error) });
    }
  }
  clearTimeout(deadline);
}

/**
 * Calls `attempt` until it succeeds, waiting as {@link RetryAfter} says between tries; anything
 * else that is thrown goes to the caller. Rejects with the signal's reason once aborted.
 */
export async function untilReady<T>(
  signal: AbortSignal,
  log: Log,
  attempt: () => Promise<T>,
): Promise<T> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof RetryAfter)) throw error;
      log.warn("not ready, trying again", { error: error.message });
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
