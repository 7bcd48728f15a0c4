/**
 * Waits for a condition by polling, instead of sleeping for a fixed time.
 *
 * @module
 */
import { messageOf } from "../../process/errors.ts";

/**
 * Calls `probe` every 25 ms until it returns a truthy value, and returns that. After `timeoutMs` it
 * throws an error that names `what` and the last value or error of the probe.
 */
export async function waitFor<T>(
  what: string,
  probe: () => T | Promise<T>,
  { timeoutMs = 15_000 }: { timeoutMs?: number } = {},
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
      last = value;
    } catch (error) {
      last = `error: ${messageOf(error)}`;
    }
    if (performance.now() > deadline) {
      throw new Error(`waited ${timeoutMs} ms for ${what}; last: ${show(last)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

function show(value: unknown): string {
  return typeof value === "string" ? value : Deno.inspect(value);
}
