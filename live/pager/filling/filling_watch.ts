/**
 * Decides from the sizes of streams which one will be full soon: from then on it refuses what is sent
 * to it.
 *
 * At the present rate a stream is full in `(limit − size) / rate`, unless it reaches its maximum age
 * before: from then on it loses as much as it gains. Pure. Times are monotonic, in ms, unless named
 * otherwise.
 *
 * @module
 */
import { Convalescence, type PipelineFinding } from "../../../shared/contract/pulse_watch.ts";

const HOUR_MS = 3_600_000;
/** The rates that are looked at, and the time left that pages at each. */
const HORIZONS = [
  { overMs: 60_000, pagesBelowMs: HOUR_MS },
  { overMs: 600_000, pagesBelowMs: 6 * HOUR_MS },
] as const;
const KEPT_MS = 600_000;
/** Used share from which any growth pages. */
const NEARLY_FULL = 0.9;
/** Used share of a stream that is full: the next message may not fit. */
const FULL = 0.99;
/** Samples come every few seconds; one more would be an error of the caller. */
const MAX_SAMPLES = 1_000;
/** Time for which no stream may fill before the alert ends, in ms. */
const WELL_AFTER_MS = { filling: 60_000 } as const;
const WHAT = "stream-filling";

/** What a server says of a stream. */
export interface StreamSize {
  readonly bytes: number;
  /** Size at which it refuses, in bytes. */
  readonly limitBytes: number;
  /** Time until its oldest message is removed for its age, in ms; Infinity when it is not. */
  readonly agesInMs: number;
}

interface Sample extends StreamSize {
  readonly atMs: number;
}

/** How full a stream is. */
export interface StreamFilling {
  readonly stream: string;
  /** 0 to 1. */
  readonly usedRatio: number;
  /** Bytes a second, over the time in which `fullInMs` is the shortest. */
  readonly bytesPerSecond: number;
  /** Time until it is full, in ms; Infinity while it does not grow, or ages before it is full. */
  readonly fullInMs: number;
  readonly isIll: boolean;
}

/** See the module. */
export class FillingWatch {
  readonly #samples: Map<string, Sample[]>;
  readonly #ill = new Convalescence(WELL_AFTER_MS);

  /** Watches `streams`. */
  constructor(streams: readonly string[]) {
    this.#samples = new Map(streams.map((stream) => [stream, []]));
  }

  /** The size of `stream` at `atMs`. */
  measured(stream: string, size: StreamSize, atMs: number): void {
    const samples = this.#samples.get(stream);
    if (samples === undefined) return;
    samples.push({ ...size, atMs });
    const isOld = ({ atMs: ms }: Sample) => atMs - ms > KEPT_MS;
    while (samples.length > MAX_SAMPLES || isOld(samples[0] as Sample)) samples.shift();
  }

  /** What is known of each stream that was measured. */
  fillings(): StreamFilling[] {
    return [...this.#samples].flatMap(([stream, samples]) => {
      const last = samples.at(-1);
      return last === undefined ? [] : [fillingOf(stream, samples, last)];
    });
  }

  /** What is known at `nowMs`. */
  findings(nowMs: number): PipelineFinding[] {
    const fillings = this.fillings();
    const ill = fillings.filter(({ isIll }) => isIll).sort((a, b) => a.fullInMs - b.fullInMs);
    const isIll = ill.length > 0;
    if (!isIll && fillings.length < this.#samples.size) return [];
    if (!this.#ill.isSettled("filling", isIll, nowMs)) return [];
    const summary = isIll ? ill.map(sentenceOf).join("; ") : "no stream will be full soon";
    return [{ what: WHAT, isIll, summary: summary.slice(0, 900) }];
  }
}

function fillingOf(stream: string, samples: readonly Sample[], last: Sample): StreamFilling {
  const usedRatio = last.bytes / last.limitBytes;
  const found = HORIZONS.map(({ overMs, pagesBelowMs }) => {
    const bytesPerSecond = rateOver(samples, last, overMs);
    const leftMs = (last.limitBytes - last.bytes) / bytesPerSecond * 1_000;
    const fullInMs = bytesPerSecond > 0 && leftMs < last.agesInMs ? Math.max(0, leftMs) : Infinity;
    const isIll = fullInMs < pagesBelowMs || (usedRatio >= NEARLY_FULL && fullInMs < Infinity);
    return { bytesPerSecond, fullInMs, isIll };
  });
  const [shortest] = found.sort((a, b) => a.fullInMs - b.fullInMs);
  const { bytesPerSecond, fullInMs } = shortest ?? { bytesPerSecond: 0, fullInMs: Infinity };
  // What is full does not grow any more.
  const isFull = usedRatio >= FULL;
  return {
    stream,
    usedRatio,
    bytesPerSecond,
    fullInMs: isFull ? 0 : fullInMs,
    isIll: isFull || found.some(({ isIll }) => isIll),
  };
}

// 0 until most of that time was seen: a single batch is no rate.
function rateOver(samples: readonly Sample[], last: Sample, overMs: number): number {
  const first = samples.find(({ atMs }) => last.atMs - atMs <= overMs) ?? last;
  const tookMs = last.atMs - first.atMs;
  return tookMs < overMs / 2 ? 0 : (last.bytes - first.bytes) / tookMs * 1_000;
}

function sentenceOf({ stream, usedRatio, bytesPerSecond, fullInMs }: StreamFilling): string {
  const setting = stream === "QUARANTINE"
    ? "TWOFOLD_QUARANTINE_MAX_BYTES"
    : "TWOFOLD_HEARTBEATS_MAX_BYTES";
  const remedy = `raise ${setting} and run deno task provision`;
  if (fullInMs === 0) return `${stream} is full and refuses what is sent to it: ${remedy}`;
  const hours = (fullInMs / HOUR_MS).toPrecision(2);
  const percent = Math.floor(usedRatio * 100);
  const rate = (bytesPerSecond / 1_000_000).toPrecision(2);
  return `${stream} is ${percent} % full, and full in ${hours} hours at the present ${rate} MB a ` +
    `second: ${remedy}, or find who sends so much`;
}
