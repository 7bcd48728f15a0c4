/**
 * The audience of a large catalogue, for benchmarks: who watches what, where, and on which device.
 *
 * Popularity of titles and regions follows Zipf's law with exponent 1.
 *
 * @module
 */
import type { Heartbeat } from "../../contract/event.ts";
import type { Random } from "../testing/random.ts";

/** Size of the catalogue. */
const TITLES = 20_000;
const REGIONS = 50;
const CDNS = 5;
const ISPS = 200;
const MODELS = 20;
const BUILDS = 30;

/** Every player of the audience reports after this time, ms. */
export const AUDIENCE_INTERVAL_MS = 10_000;

/**
 * The first heartbeats of `sessions` healthy viewers over 20,000 titles and 50 regions, whose
 * intervals end at `ts` (ms since the epoch).
 */
export function audience(random: Random, sessions: number, ts: number): Heartbeat[] {
  const title = zipfRank(random, TITLES);
  const region = zipfRank(random, REGIONS);
  return Array.from({ length: sessions }, (_, i): Heartbeat => ({
    v: 1,
    event_id: random.uuidv7(ts),
    session_id: random.uuidv7(ts),
    device_id: `device-${i}`,
    title_id: `title-${title()}`,
    region: `r${region()}`,
    seq: 100,
    ts,
    interval_ms: AUDIENCE_INTERVAL_MS,
    state: "playing",
    played_ms: AUDIENCE_INTERVAL_MS,
    rebuffer_ms: 0,
    rebuffer_count: 0,
    cdn: `cdn${random.int(0, CDNS - 1)}`,
    isp: `isp${random.int(0, ISPS - 1)}`,
    device: {
      model: `m${random.int(0, MODELS - 1)}`,
      os: "os",
      build: `b${random.int(0, BUILDS - 1)}`,
    },
  }));
}

/** Draws ranks from 0 so that P(k) ∝ 1 / (k + 1) (Zipf's law). */
export function zipfRank(random: Random, size: number): () => number {
  const sums: number[] = [];
  for (let k = 0, sum = 0; k < size; k++) sums.push(sum += 1 / (k + 1));
  const total = sums[size - 1] ?? 1;
  return () => {
    const at = random.next() * total;
    let low = 0;
    let high = size - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((sums[middle] ?? 0) < at) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}
