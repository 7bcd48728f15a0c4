/**
 * Asks how full the streams are that refuse when they are full, and which nodes have them: alerts
 * before a stream is full, and when a node stores nothing.
 *
 * @module
 */
import type { JetStreamManager, StreamInfo } from "nats/jetstream";
import { type FindingsOptions, reportFindings } from "../../../shared/contract/pulses.ts";
import { heartbeatStreams, QUARANTINE } from "../../../shared/contract/topology.ts";
import { pause } from "../../../shared/process/retry.ts";
import type { Service } from "../../../shared/process/service.ts";
import type { pagerSettings } from "../settings.ts";
import { FillingWatch, type StreamSize } from "./filling_watch.ts";
import { type Replica, ReplicaWatch } from "./replica_watch.ts";

const INTERVAL_MS = 5_000;

/** Watches HEARTBEATS and QUARANTINE until the service stops. */
export function watchFilling(
  { settings, metrics, signal }: Service<typeof pagerSettings>,
  jsm: JetStreamManager,
  options: FindingsOptions,
): void {
  const streams = [...heartbeatStreams(settings.TWOFOLD_PARTITIONS), QUARANTINE];
  const watch = new FillingWatch(streams);
  const replicas = new ReplicaWatch(streams);
  metrics.gaugeOf(
    "twofold_pager_stream_used_ratio",
    "How full a stream is",
    () => watch.fillings().map(({ stream, usedRatio }) => [{ stream }, usedRatio] as const),
    ["stream"],
  );
  metrics.gaugeOf(
    "twofold_pager_stream_full_in_seconds",
    "Time until a stream is full at the present rate; absent while it will not be",
    () =>
      watch.fillings().filter(({ fullInMs }) => fullInMs < Infinity)
        .map(({ stream, fullInMs }) => [{ stream }, fullInMs / 1_000] as const),
    ["stream"],
  );
  reportFindings(
    {
      // Servers are asked, so nothing is concluded from what was not heard.
      restart() {},
      findings: (nowMs) => [...watch.findings(nowMs), ...replicas.findings(nowMs)],
    },
    options,
    signal,
  );
  const note = (stream: string, info: StreamInfo) => {
    const size = sizeOf(info, options.nowMs());
    if (size) watch.measured(stream, size, performance.now());
    replicas.measured(stream, replicasOf(info), performance.now());
  };
  for (const stream of streams) void measure(stream, jsm, note, signal);
}

async function measure(
  stream: string,
  jsm: JetStreamManager,
  note: (stream: string, info: StreamInfo) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      note(stream, await jsm.streams.info(stream));
    } catch {
      // A stream that does not answer is not measured; those who need it say so.
    }
    await pause(INTERVAL_MS, signal);
  }
}

function sizeOf({ config, state }: StreamInfo, nowMs: number): StreamSize | undefined {
  if (config.max_bytes <= 0) return undefined;
  const ageMs = nowMs - Date.parse(state.first_ts);
  const hasMessages = state.messages > 0;
  const agesInMs = config.max_age > 0 && hasMessages ? config.max_age / 1e6 - ageMs : Infinity;
  return { bytes: state.bytes, limitBytes: config.max_bytes, agesInMs };
}

// A server that is alone has no replicas. The leader counts in ns, and 0 if it has never heard of one.
function replicasOf({ cluster }: StreamInfo): Replica[] {
  return (cluster?.replicas ?? []).map(({ name, current, offline = false, active }) => ({
    node: name,
    isCurrent: current,
    isOffline: offline,
    silentMs: active > 0 ? active / 1e6 : Infinity,
  }));
}
