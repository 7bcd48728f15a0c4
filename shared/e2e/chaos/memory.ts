/**
 * Whether the memory of a process grows: the medians of parts of a run, compared.
 *
 * Pure.
 *
 * @module
 */

/** The memory of one process over a run, bytes. */
export interface MemoryCourse {
  readonly startBytes: number;
  /** Once caches and windows are full; none in a run that is too short for it. */
  readonly fullBytes: number | undefined;
  readonly middleBytes: number;
  readonly endBytes: number;
  /** Compared with `fullBytes`. */
  readonly verdict: "flat" | "growing" | "not judged";
}

/** Each of the parts, of the run. */
const PART = 0.1;
/** What a process may gain once all is full. */
const GAIN_RATIO = 0.1;
const GAIN_BYTES = 16 * 1024 ** 2;

/**
 * `samples` are in order of time, at even intervals; all is full from the one with the index `fullFrom`.
 * Throws a `RangeError` if there are none.
 */
export function courseOf(samples: readonly number[], fullFrom: number): MemoryCourse {
  const size = Math.max(1, Math.round(samples.length * PART));
  const part = (from: number) => median(samples.slice(from, from + size));
  const endBytes = part(samples.length - size);
  // The end must be another part.
  const fullBytes = fullFrom + 2 * size <= samples.length ? part(fullFrom) : undefined;
  return {
    startBytes: part(0),
    fullBytes,
    middleBytes: part(Math.floor((samples.length - size) / 2)),
    endBytes,
    verdict: verdictOf(fullBytes, endBytes),
  };
}

function verdictOf(fullBytes: number | undefined, endBytes: number): MemoryCourse["verdict"] {
  if (fullBytes === undefined) return "not judged";
  const allowed = Math.max(GAIN_BYTES, fullBytes * GAIN_RATIO);
  return endBytes - fullBytes <= allowed ? "flat" : "growing";
}

function median(samples: readonly number[]): number {
  const value = samples.toSorted((a, b) => a - b)[Math.floor(samples.length / 2)];
  if (value === undefined) throw new RangeError("there are no samples");
  return value;
}
