/**
 * A load as a whole: what all its generators did, second by second, and what limited it.
 *
 * Pure.
 *
 * @module
 */
import type { CellTotals } from "../../dev/fleet/device_client_load.ts";
import type { GeneratorResult, GeneratorSecond } from "./generator.ts";
import { Latencies, type LatencyCounts } from "./latencies.ts";

/** Times of requests, ms; undefined of none. */
export interface LatencyFigures {
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly p999Ms: number | undefined;
  readonly maxMs: number;
}

/** One second of a load. */
export interface LoadSecond {
  readonly second: number;
  /** Heartbeats that were due, and that were accepted. */
  readonly due: number;
  readonly accepted: number;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  /** From the first byte: what a generator that waits for answers would have measured. */
  readonly serviceP99Ms: number | undefined;
}

/** What a load came to. */
export interface LoadOutcome {
  /** Heartbeats accepted. */
  readonly events: number;
  readonly requests: number;
  readonly accepted: number;
  readonly lost: number;
  readonly unsent: number;
  readonly repeated: number;
  readonly lastRefusal: string | undefined;
  /** From the due time to the answer. */
  readonly latency: LatencyFigures;
  /** From the first byte to the answer. */
  readonly service: LatencyFigures;
  /** How late the generator was with a connection free. */
  readonly late: LatencyFigures;
  /** Requests for which no connection was free when they were due. */
  readonly waited: number;
  /** Part of the requests that went out within a second of when they were due. */
  readonly onTimeRatio: number;
  readonly seconds: readonly LoadSecond[];
  readonly cells: readonly CellTotals[];
}

/** What `results` are together. */
export function outcomeOf(results: readonly GeneratorResult[]): LoadOutcome {
  const sum = (part: (each: GeneratorResult) => number) =>
    results.reduce((total, each) => total + part(each), 0);
  const seconds = results.flatMap((each) => each.seconds);
  const figures = (part: (each: GeneratorSecond) => LatencyCounts) =>
    figuresOf(Latencies.of(seconds.map(part)));
  const cells = results.flatMap((each) => each.cells);
  const [requests, unsent] = [sum((each) => each.requests), sum((each) => each.unsent)];
  const tooLate = seconds.reduce((total, each) => total + each.tooLate, unsent);
  return {
    events: cells.reduce((total, { events }) => total + events, 0),
    requests,
    accepted: sum(({ accepted }) => accepted),
    lost: sum(({ lost }) => lost),
    unsent,
    repeated: sum(({ repeated }) => repeated),
    lastRefusal: results.find(({ lastRefusal }) => lastRefusal !== undefined)?.lastRefusal,
    latency: figures(({ latency }) => latency),
    service: figures(({ service }) => service),
    late: figures(({ late }) => late),
    waited: seconds.reduce((total, each) => total + each.waited, 0),
    onTimeRatio: requests === 0 ? 1 : 1 - tooLate / requests,
    seconds: together(results),
    cells,
  };
}

function together(results: readonly GeneratorResult[]): LoadSecond[] {
  const length = results.reduce((most, { seconds }) => Math.max(most, seconds.length), 0);
  return Array.from({ length }, (_, second) => {
    const parts = results.flatMap(({ seconds }) => seconds.slice(second, second + 1));
    const latency = Latencies.of(parts.map((each) => each.latency));
    const service = Latencies.of(parts.map((each) => each.service));
    return {
      second,
      due: parts.reduce((total, { due }) => total + due, 0),
      accepted: parts.reduce((total, { accepted }) => total + accepted, 0),
      p50Ms: latency.quantileMs(0.5),
      p99Ms: latency.quantileMs(0.99),
      serviceP99Ms: service.quantileMs(0.99),
    };
  });
}

function figuresOf(latencies: Latencies): LatencyFigures {
  return {
    p50Ms: latencies.quantileMs(0.5),
    p99Ms: latencies.quantileMs(0.99),
    p999Ms: latencies.quantileMs(0.999),
    maxMs: latencies.maxMs,
  };
}

/** Of the requests that must go out within a second of when they are due. */
export const ON_TIME_RATIO = 0.99;
/** From here on a generator is busy all the time, share of one core. */
const BUSY_CORES = 0.9;
/** Lateness of a generator that has time, p99, ms: timers, and other processes on its core. */
const LATE_LIMIT_MS = 100;

/** Whether the rate of the profile was held. */
export function isRateHeld({ onTimeRatio }: LoadOutcome): boolean {
  return onTimeRatio >= ON_TIME_RATIO;
}

/** What kept a load from its rate: nothing, the generator itself, or what. */
export function limitOf(outcome: LoadOutcome, generatorCores: number): string {
  if (isRateHeld(outcome)) return "nothing";
  const { late, repeated, lastRefusal, waited } = outcome;
  if (generatorCores >= BUSY_CORES) {
    return `the generator is busy, ${
      (generatorCores * 100).toFixed(0)
    } % of a core; see --generators`;
  }
  if ((late.p99Ms ?? 0) > LATE_LIMIT_MS) {
    return `the generator has no CPU: ${(late.p99Ms ?? 0).toFixed(0)} ms late at p99 by itself`;
  }
  if (repeated > 0) return `the edge refused ${repeated} requests: ${lastRefusal}`;
  if (waited > 0) return `answers were slow: ${waited} requests found no connection free`;
  return "nothing";
}
