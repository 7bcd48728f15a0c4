/**
 * The live service: reads heartbeats, watches rebuffering, tells on-call.
 *
 * @module
 */
import { jetstream, type JetStreamClient, jetstreamManager } from "nats/jetstream";
import type { NatsConnection } from "nats";
import { environment, readSettings, type Settings } from "../shared/process/config.ts";
import { quarantine, type Reject } from "../shared/contract/quarantine.ts";
import { messageOf, RetryAfter, Stop } from "../shared/process/errors.ts";
import { type Lifecycle, pause, runService, untilReady } from "../shared/process/lifecycle.ts";
import { Log } from "../shared/process/log.ts";
import { type Counter, Metrics } from "../shared/process/metrics.ts";
import { connectNats } from "../shared/process/nats.ts";
import { serveHttp, statusApp } from "../shared/process/status.ts";
import { heartbeatStreams } from "../shared/contract/topology.ts";
import { Incidents } from "./incidents/incidents.ts";
import { Outbox } from "./incidents/outbox.ts";
import { openAlerts } from "./incidents/recovery.ts";
import { Reader } from "./watch/reader.ts";
import { Copies } from "./watch/copies.ts";
import { type LiveMetrics, liveMetrics } from "./live_metrics.ts";
import { Monitor } from "./detect/monitor.ts";
import { Rules } from "./detect/rules.ts";
import { liveSettings } from "./settings.ts";
import { Silence } from "./watch/silence.ts";
import { publishedTally } from "./watch/totals.ts";
import { Window } from "./watch/window.ts";

type LiveSettings = Settings<typeof liveSettings>;

const BUCKET_MS = 1_000;
const TICK_MS = 1_000;
/** Alerts that may wait for NATS; beyond it live decides nothing more. */
const MAX_WAITING_ALERTS = 1_000;
const COPY_LIMITS = { concurrency: 256, maxWaiting: 4_000, giveUpAfterMs: 8_000 };
/** How long an orderly stop waits for copies and alerts. */
const FINISH_MS = 3_000;

if (import.meta.main) {
  await runService(new Log("live"), start);
}

async function start(life: Lifecycle): Promise<void> {
  const settings = readSettings(liveSettings, environment());
  if (settings.TWOFOLD_LIVE_RESOLVE_RATIO >= settings.TWOFOLD_LIVE_OPEN_RATIO) {
    throw new Stop("TWOFOLD_LIVE_RESOLVE_RATIO must be below TWOFOLD_LIVE_OPEN_RATIO");
  }
  const log = new Log("live", settings.TWOFOLD_LOG_LEVEL);
  const metrics = new Metrics();
  const live = { notReady: (): string | undefined => "starting" };
  const nc = await untilReady(life.signal, log, () => connectNats(settings, log));
  life.onStop("nats", () => nc.drain());
  void nc.closed().then((error) => life.fail(error ?? new Stop("the NATS connection was closed")));
  const address = { hostname: settings.TWOFOLD_HTTP_HOST, port: settings.TWOFOLD_HTTP_PORT };
  serveHttp(life, log, address, statusApp({ metrics, notReady: () => live.notReady() }));
  const service = await assemble(nc, settings, life, log, liveMetrics(metrics));
  live.notReady = () => service.readers.map(({ notReady }) => notReady).find(Boolean);
  run(service, life);
}

interface Service {
  readonly readers: readonly Reader[];
  readonly copies: Copies<Reject>;
  readonly monitor: Monitor;
  readonly window: Window;
  readonly incidents: Incidents;
  readonly outbox: Outbox;
  readonly silence: Silence;
  readonly metrics: LiveMetrics;
}

async function assemble(
  nc: NatsConnection,
  settings: LiveSettings,
  life: Lifecycle,
  log: Log,
  metrics: LiveMetrics,
): Promise<Service> {
  const js = jetstream(nc, { timeout: 2_000 });
  const incidents = await recover(nc, settings, life, log);
  const window = new Window({
    windowMs: settings.TWOFOLD_LIVE_WINDOW_SECONDS * 1_000,
    bucketMs: BUCKET_MS,
    maxKeys: settings.TWOFOLD_LIVE_MAX_KEYS,
    rewindAfterTicks: 10,
  });
  const rules = new Rules(ruleOptions(settings));
  for (const key of incidents.rebufferKeys) rules.restore(key);
  const outbox = new Outbox(js, MAX_WAITING_ALERTS, log, (alert) => {
    const { incident_id, status, summary } = alert;
    log.info("alert published", { incident_id, status, summary });
    if (alert.kind !== "rebuffer" || status !== "open") return;
    metrics.latency.observe((Date.now() - alert.received_at) / 1_000);
  });
  const monitor = new Monitor({
    window,
    rules,
    mayDecide: () => !outbox.full,
    decided: (decision) => outbox.add(incidents.rebuffer(decision, Date.now())),
    now: () => performance.now(),
  });
  const copies = new Copies<Reject>(COPY_LIMITS, (reject) => quarantine(js, "live", reject), log);
  const readers = openReaders(nc, js, settings, copies, monitor, log);
  await Promise.all(readers.map((reader) => reader.find(life.signal)));
  const silenceMs = settings.TWOFOLD_LIVE_SILENCE_SECONDS * 1_000;
  const silence = new Silence(silenceMs, incidents.silent);
  // A silence that an earlier process reported goes on until a heartbeat comes.
  const expected = !silence.open && readers.some(({ deliveredBefore }) => deliveredBefore);
  if (expected) silence.heard(performance.now());
  return { readers, copies, monitor, window, incidents, outbox, silence, metrics };
}

function ruleOptions(settings: LiveSettings) {
  return {
    openRatio: settings.TWOFOLD_LIVE_OPEN_RATIO,
    resolveRatio: settings.TWOFOLD_LIVE_RESOLVE_RATIO,
    minHeartbeats: settings.TWOFOLD_LIVE_MIN_HEARTBEATS,
    minStalledSessions: settings.TWOFOLD_LIVE_MIN_STALLED_SESSIONS,
    openAfterEvaluations: 2,
    resolveAfterMs: settings.TWOFOLD_LIVE_RESOLVE_AFTER_SECONDS * 1_000,
    closeWithoutDataMs: settings.TWOFOLD_LIVE_CLOSE_WITHOUT_DATA_SECONDS * 1_000,
    heartbeatMs: 10_000,
    windowBuckets: settings.TWOFOLD_LIVE_WINDOW_SECONDS * 1_000 / BUCKET_MS,
  };
}

async function recover(
  nc: NatsConnection,
  settings: LiveSettings,
  life: Lifecycle,
  log: Log,
): Promise<Incidents> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const open = await untilReady(life.signal, log, async () => {
    try {
      return await openAlerts(jsm, log);
    } catch (error) {
      throw new RetryAfter(`open alerts: ${messageOf(error)}`, 1_000, { cause: error });
    }
  });
  if (open.size > 0) log.info("open incidents recovered", { incidents: open.size });
  return new Incidents({
    bucketMs: BUCKET_MS,
    openRatio: settings.TWOFOLD_LIVE_OPEN_RATIO,
    resolveRatio: settings.TWOFOLD_LIVE_RESOLVE_RATIO,
    silenceMs: settings.TWOFOLD_LIVE_SILENCE_SECONDS * 1_000,
  }, open);
}

function openReaders(
  nc: NatsConnection,
  js: JetStreamClient,
  settings: LiveSettings,
  copies: Copies<Reject>,
  monitor: Monitor,
  log: Log,
): Reader[] {
  return heartbeatStreams(settings.TWOFOLD_PARTITIONS).map((stream) => {
    const tally = publishedTally(nc, stream, settings.TWOFOLD_TOTALS_INTERVAL_MS);
    return new Reader({
      js,
      stream,
      copies,
      log,
      heartbeat: (heartbeat, receivedAt) => {
        monitor.heartbeat(heartbeat, receivedAt);
        tally.add(receivedAt, heartbeat.played_ms);
      },
    });
  });
}

function run(service: Service, life: Lifecycle): void {
  const { readers, copies, outbox } = service;
  const reading = Promise.all(readers.map((reader) => reader.run(life.signal)));
  const timer = setInterval(() => tick(service), TICK_MS);
  life.onStop("reading", async () => {
    await reading;
    clearInterval(timer);
    const deadlineMs = performance.now() + FINISH_MS;
    while (!copies.idle && performance.now() < deadlineMs) await pause(25);
    await Promise.race([outbox.flush(), pause(FINISH_MS)]);
    await Promise.all(readers.map((reader) => reader.finish()));
  });
}

function tick(service: Service): void {
  const { readers, monitor, metrics, incidents, outbox, silence } = service;
  const events = total(readers, ({ events }) => events);
  if (events > metrics.events.value()) silence.heard(performance.now());
  monitor.tick();
  // While NATS is away nobody knows whether heartbeats come.
  if (readers.every(({ reachable }) => reachable)) {
    const change = silence.check(performance.now());
    if (change) outbox.add(incidents.silence(change, Date.now()));
  }
  refresh(service);
}

// Counters live as plain numbers on the hot path and are published once a second.
function refresh({ readers, monitor, window, copies, incidents, metrics }: Service): void {
  raise(metrics.events, total(readers, ({ events }) => events));
  raise(metrics.rejected, total(readers, ({ rejected }) => rejected));
  raise(metrics.redelivered, total(readers, ({ redelivered }) => redelivered));
  raise(metrics.overtaken, total(readers, ({ overtaken }) => overtaken));
  raise(metrics.late, monitor.late);
  raise(metrics.copies, copies.made, { outcome: "made" });
  raise(metrics.copies, copies.givenUp, { outcome: "given_up" });
  raise(metrics.evicted, window.evictedKeys);
  raise(metrics.rewinds, window.rewinds);
  metrics.keys.set(window.keys);
  metrics.openAlerts.set(incidents.rebufferKeys.length);
  metrics.lag.set(total(readers, ({ lag }) => lag));
  metrics.watermark.set(window.watermarkMs / 1_000);
}

function raise(counter: Counter, to: number, labels: Record<string, string> = {}): void {
  counter.add(to - counter.value(labels), labels);
}

function total(readers: readonly Reader[], of: (reader: Reader) => number): number {
  return readers.reduce((sum, reader) => sum + of(reader), 0);
}
