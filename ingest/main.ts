/**
 * The edge as a process: `deno task serve:ingest`.
 *
 * @module
 */
import { sendPulses } from "../shared/contract/pulses.ts";
import { heartbeatStreams } from "../shared/contract/topology.ts";
import { streamClocks } from "../shared/process/clock/clocks.ts";
import { connectService, inboxPrefix } from "../shared/process/nats.ts";
import { pause } from "../shared/process/retry.ts";
import { runService, type Service } from "../shared/process/service.ts";
import { statusApp } from "../shared/process/status.ts";
import { ingestApp } from "./app.ts";
import { JetStreamLanding } from "./storing/landing.ts";
import { Publisher } from "./storing/publisher.ts";
import { NotStored, RefusalCounts } from "./refusals.ts";
import { ingestSettings, MAX_BODY_BYTES } from "./settings.ts";

/** Interval between two probes of the streams, in ms. */
const PROBE_INTERVAL_MS = 5_000;
/** The same of one that refuses and may end that by itself, in ms. */
const RETRY_INTERVAL_MS = 500;
/** Interval between two measurements of the round trip, in ms. */
const MEASURE_INTERVAL_MS = 1_000;
/** Of the rate of a fleet, the part of one address while the fleet is short. */
const ADDRESS_SHARE = 1 / 64;
/** `Retry-After` while the edge is starting, in ms. */
const STARTING_RETRY_MS = 2_000;

type IngestProcess = Service<typeof ingestSettings>;

async function start(service: IngestProcess): Promise<void> {
  const { settings, health, signal, log } = service;
  const running: { publisher?: Publisher; landing?: JetStreamLanding } = {};
  const refusals = new RefusalCounts(log);
  const notReady = () => health.notReady;
  const { TWOFOLD_HTTP_HOST: hostname, TWOFOLD_STATUS_PORT: port } = settings;
  const statusAddress = { hostname, port, portSetting: "TWOFOLD_STATUS_PORT" };
  service.listenAt(statusAddress, statusApp({ metrics: service.metrics, notReady }));
  const app = ingestApp(appOptions(settings), {
    publish: (events, fleet) => {
      if (running.publisher) return running.publisher.publish(events, fleet);
      throw new NotStored("other", "the edge is starting", STARTING_RETRY_MS);
    },
    eventsInFlight: () => running.publisher?.eventsInFlight ?? 0,
    eventsInFlightOf: () => running.publisher?.eventsInFlightOf ?? [],
    notReady,
    refusals,
    metrics: service.metrics,
    log,
    nowMs: () => performance.now(),
  });
  service.listenAt({
    hostname,
    port: settings.TWOFOLD_HTTP_PORT,
    portSetting: "TWOFOLD_HTTP_PORT",
    isShared: settings.TWOFOLD_HTTP_PORT_SHARED === "1",
  }, app);
  const starting = health.part("landing", "the streams are not probed yet");
  const nc = await connectService(service);
  const streams = heartbeatStreams(settings.TWOFOLD_PARTITIONS);
  // Nothing that the edge answers depends on its clock: JetStream stamps receipts. So a wrong clock
  // pages, and takes no edge out of service.
  const clocks = await streamClocks(nc, streams, Date.now);
  clocks.watch(service, { isReady: true });
  sendPulses(service, nc, () => ({
    progress: running.publisher?.eventsAcknowledged ?? 0,
    waiting: running.publisher?.eventsInFlight ?? null,
    refusing: running.landing?.refusing() ?? null,
  }), clocks);
  const landing = running.landing = await JetStreamLanding.open(nc, {
    inboxPrefix: inboxPrefix(settings.TWOFOLD_NATS_USER),
    streams,
    log,
    nowMs: Date.now,
  });
  health.check(() => landing.notReady());
  void repeat(
    async () => {
      await landing.probe();
      refusals.tell(performance.now());
    },
    PROBE_INTERVAL_MS,
    signal,
  );
  void repeat(() => Promise.resolve(landing.tryRefusing()), RETRY_INTERVAL_MS, signal);
  void repeat(() => landing.measure(), MEASURE_INTERVAL_MS, signal);
  service.metrics.gaugeOf(
    "twofold_ingest_round_trip_seconds",
    "Shortest of the last round trips to NATS",
    () => landing.roundTripMs / 1_000,
  );
  running.publisher = new Publisher(landing, publisherOptions(settings));
  starting.works();
}

async function repeat(
  work: () => Promise<void>,
  intervalMs: number,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await pause(intervalMs, signal);
    await work();
  }
}

function publisherOptions(settings: IngestProcess["settings"]) {
  return {
    partitions: settings.TWOFOLD_PARTITIONS,
    maxInFlightEvents: settings.TWOFOLD_MAX_IN_FLIGHT_EVENTS,
    maxBatchEvents: settings.TWOFOLD_BATCH_EVENTS,
    maxBatchBytes: MAX_BODY_BYTES,
    maxBatchesInFlight: settings.TWOFOLD_BATCHES_UNDER_WAY,
    lingerMs: settings.TWOFOLD_BATCH_LINGER_MS,
    deadlineMs: settings.TWOFOLD_ACK_DEADLINE_MS,
  };
}

function rateLimits(settings: IngestProcess["settings"]) {
  // With a burst smaller than the largest body, that body would always be refused.
  const limit = (perSecond: number, largestBody: number) => ({
    perSecond,
    burst: Math.max(perSecond, largestBody),
  });
  const maxEvents = settings.TWOFOLD_MAX_EVENTS_PER_BODY;
  return {
    fleetEvents: limit(settings.TWOFOLD_FLEET_EVENTS_PER_SECOND, maxEvents),
    fleetBytes: limit(settings.TWOFOLD_FLEET_BYTES_PER_SECOND, MAX_BODY_BYTES),
    deviceEvents: limit(settings.TWOFOLD_DEVICE_EVENTS_PER_SECOND, maxEvents),
    deviceBytes: limit(settings.TWOFOLD_DEVICE_BYTES_PER_SECOND, 2 * MAX_BODY_BYTES),
    addressEvents: limit(settings.TWOFOLD_FLEET_EVENTS_PER_SECOND * ADDRESS_SHARE, maxEvents),
    addressBytes: limit(settings.TWOFOLD_FLEET_BYTES_PER_SECOND * ADDRESS_SHARE, MAX_BODY_BYTES),
  };
}

function appOptions(settings: IngestProcess["settings"]) {
  return {
    fleetKeys: settings.TWOFOLD_FLEET_KEYS,
    rateLimits: rateLimits(settings),
    corsOrigins: settings.TWOFOLD_CORS_ORIGINS,
    partitions: settings.TWOFOLD_PARTITIONS,
    maxEventsPerBody: settings.TWOFOLD_MAX_EVENTS_PER_BODY,
    bodyDeadlineMs: settings.TWOFOLD_BODY_DEADLINE_MS,
    maxInFlightBytes: settings.TWOFOLD_MAX_IN_FLIGHT_BYTES,
    maxWaitingBodies: settings.TWOFOLD_MAX_WAITING_BODIES,
  };
}

if (import.meta.main) await runService("ingest", ingestSettings, start);
