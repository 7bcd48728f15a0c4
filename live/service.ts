/**
 * The parts of live put together: readers → window → rules → incidents → outbox.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstream, type JetStreamClient, jetstreamManager } from "nats/jetstream";
import { quarantine, type Reject } from "../shared/contract/quarantine.ts";
import { heartbeatStreams } from "../shared/contract/topology.ts";
import type { Settings } from "../shared/process/config.ts";
import { messageOf, RetryAfter } from "../shared/process/errors.ts";
import { pause, untilReady } from "../shared/process/retry.ts";
import type { Service } from "../shared/process/service.ts";
import { Monitor } from "./detect/monitor.ts";
import { Rules } from "./detect/rules.ts";
import { Incidents } from "./incidents/incidents.ts";
import { Outbox } from "./incidents/outbox.ts";
import { openAlerts } from "./incidents/recovery.ts";
import { alertLatency, type LiveParts, showLive } from "./live_metrics.ts";
import type { liveSettings } from "./settings.ts";
import { Copies } from "./watch/copies.ts";
import { Reader } from "./watch/reader.ts";
import { Silence } from "./watch/silence.ts";
import { publishedTally } from "./watch/totals.ts";
import { Window } from "./watch/window.ts";

type LiveSettings = Settings<typeof liveSettings>;
type LiveProcess = Service<typeof liveSettings>;

const BUCKET_MS = 1_000;
const TICK_MS = 1_000;
/** Alerts that may wait for NATS; beyond it live decides nothing more. */
const MAX_WAITING_ALERTS = 1_000;
const COPY_LIMITS = { concurrency: 256, maxWaiting: 4_000, giveUpAfterMs: 8_000 };
/** How long an orderly stop waits for copies and alerts. */
const FINISH_MS = 3_000;

/** Live's working parts. */
interface Parts extends LiveParts {
  readonly outbox: Outbox;
  readonly silence: Silence;
}

/** Puts live together on `nc` and starts it. Resolves once it reads; the stop finishes its work. */
export async function startLive(
  service: LiveProcess,
  nc: NatsConnection,
  now: () => number,
): Promise<void> {
  const js = jetstream(nc, { timeout: 2_000 });
  const { settings, log, signal } = service;
  const incidents = await recoverIncidents(service, nc);
  const window = new Window({
    windowMs: settings.TWOFOLD_LIVE_WINDOW_MS,
    bucketMs: BUCKET_MS,
    maxKeys: settings.TWOFOLD_LIVE_MAX_KEYS,
    rewindAfterTicks: 10,
  });
  const outbox = openOutbox(service, js, now);
  const monitor = openMonitor(settings, window, incidents, outbox, now);
  const copies = new Copies<Reject>(COPY_LIMITS, (reject) => quarantine(js, "live", reject), log);
  const readers = openReaders(service, nc, js, copies, monitor);
  await Promise.all(readers.map((reader) => reader.find(signal)));
  const silence = new Silence(settings.TWOFOLD_LIVE_SILENCE_MS, incidents.silent);
  // A silence that an earlier process reported goes on until a heartbeat comes.
  const isExpected = !silence.open && readers.some(({ deliveredBefore }) => deliveredBefore);
  if (isExpected) silence.heard(performance.now());
  const parts = { readers, copies, monitor, window, incidents, outbox, silence };
  showLive(service.metrics, parts);
  run(service, parts, now);
}

function openOutbox({ metrics, log }: LiveProcess, js: JetStreamClient, now: () => number): Outbox {
  const latency = alertLatency(metrics);
  return new Outbox(js, MAX_WAITING_ALERTS, log, (alert) => {
    const { incident_id, status, summary } = alert;
    log.info("live.alerts.published", { incident_id, status, summary });
    if (alert.kind !== "rebuffer" || status !== "open") return;
    latency.observe((now() - alert.received_at) / 1_000);
  });
}

function openMonitor(
  settings: LiveSettings,
  window: Window,
  incidents: Incidents,
  outbox: Outbox,
  now: () => number,
): Monitor {
  const rules = new Rules(ruleOptions(settings));
  for (const key of incidents.rebufferKeys) rules.restore(key);
  return new Monitor({
    window,
    rules,
    mayDecide: () => !outbox.full,
    decided: (decision) => outbox.add(incidents.rebuffer(decision, now())),
    now: () => performance.now(),
  });
}

function ruleOptions(settings: LiveSettings) {
  return {
    openRatio: settings.TWOFOLD_LIVE_OPEN_RATIO,
    resolveRatio: settings.TWOFOLD_LIVE_RESOLVE_RATIO,
    minHeartbeats: settings.TWOFOLD_LIVE_MIN_HEARTBEATS,
    minStalledSessions: settings.TWOFOLD_LIVE_MIN_STALLED_SESSIONS,
    openAfterEvaluations: 2,
    resolveAfterMs: settings.TWOFOLD_LIVE_RESOLVE_AFTER_MS,
    closeWithoutDataMs: settings.TWOFOLD_LIVE_CLOSE_WITHOUT_DATA_MS,
    heartbeatMs: 10_000,
    windowBuckets: settings.TWOFOLD_LIVE_WINDOW_MS / BUCKET_MS,
  };
}

async function recoverIncidents(
  { settings, log, signal }: LiveProcess,
  nc: NatsConnection,
): Promise<Incidents> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const open = await untilReady(signal, log, async () => {
    try {
      return await openAlerts(jsm, log);
    } catch (error) {
      throw new RetryAfter(`open alerts: ${messageOf(error)}`, 1_000, { cause: error });
    }
  });
  if (open.size > 0) log.info("live.incidents.recovered", { incidents: open.size });
  return new Incidents({
    bucketMs: BUCKET_MS,
    openRatio: settings.TWOFOLD_LIVE_OPEN_RATIO,
    resolveRatio: settings.TWOFOLD_LIVE_RESOLVE_RATIO,
    silenceMs: settings.TWOFOLD_LIVE_SILENCE_MS,
  }, open);
}

function openReaders(
  { settings, log, health }: LiveProcess,
  nc: NatsConnection,
  js: JetStreamClient,
  copies: Copies<Reject>,
  monitor: Monitor,
): Reader[] {
  return heartbeatStreams(settings.TWOFOLD_PARTITIONS).map((stream) => {
    const tally = publishedTally(nc, stream, settings.TWOFOLD_TOTALS_INTERVAL_MS);
    const reader = new Reader({
      js,
      stream,
      copies,
      log,
      heartbeat: (heartbeat, receivedAt) => {
        monitor.heartbeat(heartbeat, receivedAt);
        tally.add(receivedAt, heartbeat.played_ms);
      },
    });
    health.check(() => reader.notReady);
    return reader;
  });
}

function run(service: LiveProcess, parts: Parts, now: () => number): void {
  const { readers, copies, outbox } = parts;
  const reading = Promise.all(readers.map((reader) => reader.run(service.signal)));
  reading.catch(service.fail);
  const ticking = service.health.rounds("evaluation");
  const tick = evaluator(parts, now);
  const timer = setInterval(() => {
    tick();
    ticking.works();
  }, TICK_MS);
  service.onStop("reading", async () => {
    await reading;
    clearInterval(timer);
    const deadlineMs = performance.now() + FINISH_MS;
    while (!copies.idle && performance.now() < deadlineMs) await pause(25);
    await Promise.race([outbox.flush(), pause(FINISH_MS)]);
    await Promise.all(readers.map((reader) => reader.finish()));
  });
}

/** What is done once a second. */
function evaluator(parts: Parts, now: () => number): () => void {
  const { readers, monitor, incidents, outbox, silence } = parts;
  let heard = 0;
  return () => {
    const events = readers.reduce((sum, reader) => sum + reader.events, 0);
    if (events > heard) silence.heard(performance.now());
    heard = events;
    monitor.tick();
    // While NATS is away nobody knows whether heartbeats come.
    if (!readers.every(({ reachable }) => reachable)) return;
    const change = silence.check(performance.now());
    if (change) outbox.add(incidents.silence(change, now()));
  };
}
