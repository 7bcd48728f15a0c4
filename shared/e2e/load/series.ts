/**
 * What is computed from samples of a load over time: how far a reader is behind, and the bytes that
 * an event costs.
 *
 * Pure.
 *
 * @module
 */

/** How much a stream or a log had at a moment. */
export interface Grown {
  readonly atSeconds: number;
  readonly total: number;
}

/**
 * How long ago the stream had as many messages as its reader has handled, s: the age of the first
 * that it has not. `history` is in order of time; `lag` is what the reader has not handled.
 */
export function secondsBehind(history: readonly Grown[], lag: number): number {
  const newest = history.at(-1);
  if (newest === undefined || lag <= 0) return 0;
  const handled = newest.total - lag;
  for (let i = history.length - 1; i > 0; i--) {
    const [before, after] = [history[i - 1], history[i]];
    if (before === undefined || after === undefined || before.total > handled) continue;
    const part = (handled - before.total) / Math.max(1, after.total - before.total);
    const reachedAt = before.atSeconds + part * (after.atSeconds - before.atSeconds);
    return newest.atSeconds - reachedAt;
  }
  return newest.atSeconds - (history[0]?.atSeconds ?? 0);
}

/** What was written, and for how many events, since the beginning. */
export interface Written {
  readonly atSeconds: number;
  readonly events: number;
  readonly bytes: number;
}

/** Bytes an event over the `windowSeconds` before each of `samples`; undefined without an event. */
export function bytesPerEvent(
  samples: readonly Written[],
  windowSeconds: number,
): (number | undefined)[] {
  let from = 0;
  return samples.map((now) => {
    while ((samples[from]?.atSeconds ?? Infinity) < now.atSeconds - windowSeconds) from++;
    const then = samples[from] ?? now;
    const events = now.events - then.events;
    return events > 0 ? (now.bytes - then.bytes) / events : undefined;
  });
}

/** Median of `values`; undefined of none. */
export function medianOf(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
