/**
 * The edge as a process: `deno task serve:ingest`.
 *
 * @module
 */
import { environment, readSettings, type Settings } from "../shared/process/config.ts";
import { type Lifecycle, pause, runService, untilReady } from "../shared/process/lifecycle.ts";
import { Log } from "../shared/process/log.ts";
import { Metrics } from "../shared/process/metrics.ts";
import { connectNats, inboxPrefix } from "../shared/process/nats.ts";
import { serveHttp } from "../shared/process/status.ts";
import { heartbeatStreams } from "../shared/contract/topology.ts";
import { ingestApp } from "./app.ts";
import { JetStreamLanding } from "./landing.ts";
import { Publisher } from "./publisher.ts";
import { ingestSettings, MAX_BODY_BYTES } from "./settings.ts";

/** How often the streams are asked whether they are there, in ms. */
const PROBE_EVERY_MS = 5_000;

type IngestSettings = Settings<typeof ingestSettings>;

async function start(life: Lifecycle): Promise<void> {
  const settings = readSettings(ingestSettings, environment());
  const log = new Log("ingest", settings.TWOFOLD_LOG_LEVEL);
  const nc = await untilReady(life.signal, log, () => connectNats(settings, log));
  life.onStop("nats", () => nc.close());
  void nc.closed().then((error) => life.fail(error ?? new Error("the NATS connection closed")));
  const streams = heartbeatStreams(settings.TWOFOLD_PARTITIONS);
  const inbox = inboxPrefix(settings.TWOFOLD_NATS_USER);
  const landing = await JetStreamLanding.open(nc, inbox, streams, log);
  void probeForEver(landing, life.signal);
  const publisher = new Publisher(landing, publisherOptions(settings));
  const app = ingestApp(appOptions(settings), {
    publish: (events) => publisher.publish(events),
    eventsInFlight: () => publisher.eventsInFlight,
    notReady: () => landing.notReady(),
    metrics: new Metrics(),
    log,
    nowMs: () => performance.now(),
  });
  const { TWOFOLD_HTTP_HOST: hostname, TWOFOLD_HTTP_PORT: port } = settings;
  serveHttp(life, log, { hostname, port }, { fetch: (request: Request) => app.fetch(request) });
}

async function probeForEver(landing: JetStreamLanding, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await pause(PROBE_EVERY_MS, signal);
    await landing.probe();
  }
}

function publisherOptions(settings: IngestSettings) {
  return {
    partitions: settings.TWOFOLD_PARTITIONS,
    maxInFlightEvents: settings.TWOFOLD_MAX_IN_FLIGHT_EVENTS,
    batchEvents: settings.TWOFOLD_BATCH_EVENTS,
    batchBytes: MAX_BODY_BYTES,
    batchesUnderWay: settings.TWOFOLD_BATCHES_UNDER_WAY,
    lingerMs: settings.TWOFOLD_BATCH_LINGER_MS,
    deadlineMs: settings.TWOFOLD_ACK_DEADLINE_MS,
  };
}

function appOptions(settings: IngestSettings) {
  return {
    fleetKeys: settings.TWOFOLD_FLEET_KEYS,
    fleetEventsPerSecond: settings.TWOFOLD_FLEET_EVENTS_PER_SECOND,
    corsOrigins: settings.TWOFOLD_CORS_ORIGINS,
    partitions: settings.TWOFOLD_PARTITIONS,
    maxEventsPerBody: settings.TWOFOLD_MAX_EVENTS_PER_BODY,
    bodyDeadlineMs: settings.TWOFOLD_BODY_DEADLINE_MS,
    maxInFlightBytes: settings.TWOFOLD_MAX_IN_FLIGHT_BYTES,
  };
}

if (import.meta.main) await runService(new Log("ingest"), start);
