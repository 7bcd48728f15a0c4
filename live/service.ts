/**
 * Wires the parts of live: readers → window → rules → incidents → outbox.
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
import { alertLatencyHistogram, type LiveParts, registerLiveMetrics } from "./live_metrics.ts";
import type { liveSettings } from "./settings.ts";
import { Copies } from "./watch/copies.ts";
import { Reader } from "./watch/reader.ts";
import { SilenceDetector } from "./watch/silence.ts";
import { publishedTally } from "./watch/totals.ts";
import { Window } from "./watch/window.ts";

type LiveSettings = Settings<typeof liveSettings>;
type LiveProcess = Service<typeof liveSettings>;

const BUCKET_MS = 1_000;
const TICK_MS = 1_000;
/** Maximum alerts that wait for NATS; beyond it live makes no decisions. */
const MAX_WAITING_ALERTS = 1_000;
const COPY_LIMITS = { concurrency: 256, maxWaiting: 4_000, giveUpAfterMs: 8_000 };
/** Maximum time that a stop waits for reading, copies and alerts together. */
const MAX_FINISH_MS = 3_000;
/** Maximum time that it then waits for the last acknowledgement. */
const MAX_ACK_MS = 1_000;

/** The parts of live. */
interface Parts extends LiveParts {
  readonly outbox: Outbox;
  readonly silence: SilenceDetector;
}

/**
 * Creates the parts of live on the connection `nc` and starts them. `nowMs` is the time of day, ms
 * since the epoch. Resolves once reading has started; the stop of the service finishes its work.
 */
export async function startLive(
  service: LiveProcess,
  nc: NatsConnection,
  nowMs: () => number,
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
  const outbox = openOutbox(service, js, nowMs);
  const monitor = openMonitor(settings, window, incidents, outbox, nowMs);
  const copies = new Copies<Reject>(COPY_LIMITS, (reject) => quarantine(js, "live", reject), log);
  const readers = openReaders(service, nc, js, copies, monitor);
  await Promise.all(readers.map((reader) => reader.waitForDurable(signal)));
  const silence = new SilenceDetector(settings.TWOFOLD_LIVE_SILENCE_MS, incidents.isSilent);
  // Silence that an earlier process reported continues until a heartbeat arrives.
  const isExpected = !silence.open && readers.some(({ deliveredBefore }) => deliveredBefore);
  if (isExpected) silence.heartbeatSeen(performance.now());
  const parts = { readers, copies, monitor, window, incidents, outbox, silence };
  registerLiveMetrics(service.metrics, parts);
  run(service, parts, nowMs);
}

function openOutbox(
  { metrics, log }: LiveProcess,
  js: JetStreamClient,
  nowMs: () => number,
): Outbox {
  const latency = alertLatencyHistogram(metrics);
  return new Outbox(js, MAX_WAITING_ALERTS, log, (alert) => {
    const { incident_id, status, summary } = alert;
    log.info("live.alerts.published", { incident_id, status, summary });
    if (alert.kind !== "rebuffer" || status !== "open") return;
    latency.observe((nowMs() - alert.received_at) / 1_000);
  });
}

function openMonitor(
  settings: LiveSettings,
  window: Window,
  incidents: Incidents,
  outbox: Outbox,
  nowMs: () => number,
): Monitor {
  const rules = new Rules(ruleOptions(settings));
  for (const key of incidents.rebufferKeys) rules.restore(key);
  return new Monitor({
    window,
    rules,
    canDecide: () => !outbox.full,
    onDecision: (decision) => outbox.add(incidents.rebuffer(decision, nowMs())),
    nowMs: () => performance.now(),
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
      onHeartbeat: (heartbeat, receivedAt) => {
        monitor.heartbeat(heartbeat, receivedAt);
        tally.add(receivedAt, heartbeat.played_ms);
      },
    });
    health.check(() => reader.notReady);
    return reader;
  });
}

function run(service: LiveProcess, parts: Parts, nowMs: () => number): void {
  const { readers, copies, outbox } = parts;
  const reading = Promise.all(readers.map((reader) => reader.run(service.signal)));
  reading.catch(service.fail);
  const ticking = service.health.rounds("evaluation");
  const tick = tickOf(parts, nowMs);
  const timer = setInterval(() => {
    tick();
    ticking.works();
  }, TICK_MS);
  service.onStop("reading", async () => {
    // Each of these may wait for a server that hangs.
    const deadlineMs = performance.now() + MAX_FINISH_MS;
    const deadline = pause(MAX_FINISH_MS);
    await Promise.race([reading, deadline]);
    clearInterval(timer);
    while (!copies.idle && performance.now() < deadlineMs) await pause(25);
    await Promise.race([outbox.flush(), deadline]);
    await Promise.race([Promise.all(readers.map((reader) => reader.finish())), pause(MAX_ACK_MS)]);
  });
}

/** The function that runs once a second. */
function tickOf(parts: Parts, nowMs: () => number): () => void {
  const { readers, monitor, incidents, outbox, silence } = parts;
  let eventsSeen = 0;
  return () => {
    const events = readers.reduce((sum, reader) => sum + reader.events, 0);
    if (events > eventsSeen) silence.heartbeatSeen(performance.now());
    eventsSeen = events;
    monitor.tick();
    // While NATS does not answer, it is unknown whether heartbeats arrive.
    if (!readers.every(({ reachable }) => reachable)) return;
    const change = silence.check(performance.now());
    if (change) outbox.add(incidents.silence(change, nowMs()));
  };
}
