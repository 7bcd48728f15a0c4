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
  /** By `fullBytes`, `middleBytes` and the limit that the process has. */
  readonly verdict: "flat" | "growing" | "not judged";
}

/** Each of the parts, of the run. */
const PART = 0.1;
/**
 * What a process may gain from where all is full, or else from the middle of the run: what still filled
 * in the first half, as the baselines that live learns, has come to an end.
 */
const GAIN_RATIO = 0.1;
const GAIN_BYTES = 16 * 1024 ** 2;

/**
 * `samples` are in order of time, at even intervals; all is full from the one with the index `fullFrom`.
 * Up to `limitBytes` a process may grow. Throws a `RangeError` if there are no samples.
 */
export function courseOf(
  samples: readonly number[],
  fullFrom: number,
  limitBytes = 0,
): MemoryCourse {
  const size = Math.max(1, Math.round(samples.length * PART));
  const part = (from: number) => median(samples.slice(from, from + size));
  const endBytes = part(samples.length - size);
  // The end must be another part.
  const fullBytes = fullFrom + 2 * size <= samples.length ? part(fullFrom) : undefined;
  const middleBytes = part(Math.floor((samples.length - size) / 2));
  return {
    startBytes: part(0),
    fullBytes,
    middleBytes,
    endBytes,
    verdict: fullBytes === undefined
      ? "not judged"
      : isFlat(Math.max(fullBytes, middleBytes), endBytes, limitBytes)
      ? "flat"
      : "growing",
  };
}

function isFlat(beforeBytes: number, endBytes: number, limitBytes: number): boolean {
  const allowed = Math.max(GAIN_BYTES, beforeBytes * GAIN_RATIO);
  return endBytes <= Math.max(beforeBytes + allowed, limitBytes);
}

/**
 * The memory that a process is told to keep to, bytes. nats-server collects little until its heap is near
 * that (`GOMEMLIMIT` of compose.yaml); beside the heap it has stacks and buffers.
 */
export function memoryLimitOf(name: string): number {
  return name.startsWith("nats-server") ? 1.15 * 1024 ** 3 : 0;
}

function median(samples: readonly number[]): number {
  const value = samples.toSorted((a, b) => a - b)[Math.floor(samples.length / 2)];
  if (value === undefined) throw new RangeError("there are no samples");
  return value;
}
