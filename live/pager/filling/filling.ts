/**
 * Asks how full the streams are that refuse when they are full, and alerts before they are.
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

const INTERVAL_MS = 5_000;

/** Watches HEARTBEATS and QUARANTINE until the service stops. */
export function watchFilling(
  { settings, metrics, signal }: Service<typeof pagerSettings>,
  jsm: JetStreamManager,
  options: FindingsOptions,
): void {
  const streams = [...heartbeatStreams(settings.TWOFOLD_PARTITIONS), QUARANTINE];
  const watch = new FillingWatch(streams);
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
  reportFindings(watch, options, signal);
  for (const stream of streams) void measure(stream, watch, jsm, options.nowMs, signal);
}

async function measure(
  stream: string,
  watch: FillingWatch,
  jsm: JetStreamManager,
  nowMs: () => number,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const size = sizeOf(await jsm.streams.info(stream), nowMs());
      if (size) watch.measured(stream, size, performance.now());
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
