/**
 * `deno task up --simulate`: the heartbeats of a simulated fleet, in real time, with one incident.
 *
 * @module
 */
import { DeviceClient, drive } from "../fleet/device_client.ts";
import { DEFAULT_SIMULATION, type IncidentOptions, Simulator } from "../fleet/simulator.ts";

/** About 120 heartbeats a second: three days of them fit into the stream of a laptop. */
const SESSIONS = 1_000;
const RUN_MS = 30 * 86_400_000;
const CDN = "cdn-b";
const REGION = "us-east";
const INCIDENT: IncidentOptions = {
  cdn: CDN,
  stages: [{ atMs: 60_000, region: REGION, share: 0.8 }],
  untilMs: 180_000,
  stallRatio: 0.6,
};

/** What the simulation sends, in one line. */
export const TRAFFIC_TEXT =
  `${SESSIONS} simulated viewers play; ${CDN} fails in ${REGION} after one minute, for two`;

/** Where the simulation sends to. */
export interface TrafficTarget {
  /** Of the edge. */
  readonly url: string;
  readonly key: string;
}

/** Sends until `signal` is aborted, and retries while the edge is away. */
export async function simulateTraffic(
  { url, key }: TrafficTarget,
  startEpochMs: number,
  signal: AbortSignal,
): Promise<void> {
  // Another seed at every start, because ids depend on it and the books know the earlier ones.
  const seed = startEpochMs;
  const simulator = new Simulator({
    ...DEFAULT_SIMULATION,
    seed,
    startEpochMs,
    durationMs: RUN_MS,
    sessions: SESSIONS,
    conflicts: 0,
    incidents: [INCIDENT],
  });
  const client = new DeviceClient({ url, key, seed, record: () => {} });
  await drive(client, simulator.ticks(), { startAtMs: performance.now(), signal });
}
