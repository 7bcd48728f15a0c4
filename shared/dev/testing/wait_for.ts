/**
 * Waiting for a condition, instead of sleeping and hoping.
 *
 * @module
 */
import { messageOf } from "../../process/errors.ts";

/**
 * Calls `probe` every 25 ms until it returns something truthy, and returns that. When `timeoutMs`
 * runs out it throws with `what` and the last thing the probe returned or threw.
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
