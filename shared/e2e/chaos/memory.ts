/**
 * Whether the memory of a process grows: the medians of three parts of a run, compared.
 *
 * Pure.
 *
 * @module
 */

/** The memory of one process over a run, bytes. */
export interface MemoryCourse {
  readonly startBytes: number;
  readonly middleBytes: number;
  readonly endBytes: number;
  readonly isFlat: boolean;
}

/** Each of the three parts, of the run. */
const PART = 0.1;
/** What a process may gain from the middle to the end; caches and windows fill before. */
const GAIN_RATIO = 0.1;
const GAIN_BYTES = 16 * 1024 ** 2;

/** `samples` are in order of time, at even intervals. Throws a `RangeError` if there are none. */
export function courseOf(samples: readonly number[]): MemoryCourse {
  const size = Math.max(1, Math.round(samples.length * PART));
  const from = Math.floor((samples.length - size) / 2);
  const middleBytes = median(samples.slice(from, from + size));
  const endBytes = median(samples.slice(-size));
  const allowed = Math.max(GAIN_BYTES, middleBytes * GAIN_RATIO);
  return {
    startBytes: median(samples.slice(0, size)),
    middleBytes,
    endBytes,
    isFlat: endBytes - middleBytes <= allowed,
  };
}

function median(samples: readonly number[]): number {
  const value = samples.toSorted((a, b) => a - b)[Math.floor(samples.length / 2)];
  if (value === undefined) throw new RangeError("there are no samples");
  return value;
}
