/**
 * Wires the parts of live: readers → decider (detector, incidents) → outbox.
 *
 * Time is the stream's: receipts, and a monotonic clock between them. The time of day of this
 * machine decides nothing.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import {
  jetstream,
  type JetStreamClient,
  type JetStreamManager,
  jetstreamManager,
} from "nats/jetstream";
import type { Achieved } from "../shared/contract/pulse.ts";
import { sendPulses } from "../shared/contract/pulses.ts";
import { quarantine, type Reject } from "../shared/contract/quarantine.ts";
import { heartbeatStreams, LIVE_VIEW_SUBJECT } from "../shared/contract/topology.ts";
import { LIVE_VIEW_MS } from "../shared/contract/view/live_view.ts";
import type { Settings } from "../shared/process/config.ts";
import { messageOf, RetryAfter } from "../shared/process/errors.ts";
import { pause, untilReady } from "../shared/process/retry.ts";
import type { Service } from "../shared/process/service.ts";
import { Detector } from "./detect/detector.ts";
import { BaselinesStore } from "./incidents/baselines_store.ts";
import { Decider } from "./incidents/decider.ts";
import { Incidents } from "./incidents/incidents.ts";
import { Outbox } from "./incidents/outbox.ts";
import { openAlerts } from "./incidents/recovery.ts";
import type { Silence } from "./incidents/silence.ts";
import { followSilences } from "./incidents/silences.ts";
import { liveHistograms, type LiveParts, registerLiveMetrics } from "./live_metrics.ts";
import { liveView } from "./live_view.ts";
import type { liveSettings } from "./settings.ts";
import { Copies } from "./watch/copies.ts";
import { Reader } from "./watch/reader.ts";
import { commonTimeMs } from "./watch/receipt_clock.ts";
import { SilenceDetector } from "./watch/silence.ts";
import { publishedTally } from "./watch/totals.ts";

type LiveSettings = Settings<typeof liveSettings>;
type LiveProcess = Service<typeof liveSettings>;
type Histograms = ReturnType<typeof liveHistograms>;

const TICK_MS = 1_000;
const SAVE_INTERVAL_MS = 60_000;
const SILENCES_INTERVAL_MS = 5_000;
/** Without silences for so long at the start live pages: better a page too many than none. */
const MAX_SILENCES_WAIT_MS = 2_000;
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
 * Creates the parts of live on the connection `nc` and starts them. Resolves once reading has
 * started; the stop of the service finishes its work.
 */
export async function startLive(
  service: LiveProcess,
  nc: NatsConnection,
  nowMs: () => number,
): Promise<void> {
  const js = jetstream(nc, { timeout: 2_000 });
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const { settings, log, metrics, signal } = service;
  const readers: Reader[] = [];
  sendPulses(service, nc, () => achievedBy(readers), nowMs);
  const incidents = await recoverIncidents(service, jsm);
  const histograms = liveHistograms(metrics);
  const outbox = openOutbox(service, js, histograms, readers);
  const decider = openDecider({ settings, incidents, outbox, readers, histograms });
  const copies = new Copies<Reject>(COPY_LIMITS, (reject) => quarantine(js, "live", reject), log);
  readers.push(...openReaders(service, nc, js, copies, decider));
  await Promise.all(readers.map((reader) => reader.waitForDurable(signal)));
  const store = new BaselinesStore(js, jsm, log);
  await loadBaselines(decider, store, readers, signal);
  const silence = new SilenceDetector(settings.TWOFOLD_LIVE_SILENCE_MS, incidents.isSilent);
  // Silence that an earlier process reported continues until a heartbeat arrives.
  const isExpected = !silence.open && readers.some(({ deliveredBefore }) => deliveredBefore);
  if (isExpected) silence.heartbeatSeen(performance.now());
  const parts = { readers, copies, decider, incidents, outbox, silence, store };
  registerLiveMetrics(metrics, parts);
  await knowSilences(service, jsm, incidents);
  run(service, parts);
  publishViews(service, nc, parts, nowMs);
}

/** Publishes what live sees every {@link LIVE_VIEW_MS}. */
function publishViews(
  service: LiveProcess,
  nc: Pick<NatsConnection, "publish" | "isClosed" | "isDraining">,
  { decider, incidents, readers }: Parts,
  nowMs: () => number,
): void {
  const instance = crypto.randomUUID();
  const timer = setInterval(() => {
    if (nc.isClosed() || nc.isDraining()) return;
    const view = liveView({
      decider,
      incidents,
      instance,
      nowMs: nowMs(),
      coverage: 1,
      lags: readers.map((reader) => [reader.stream, lagMsOf(reader, nowMs())]),
    });
    nc.publish(LIVE_VIEW_SUBJECT, JSON.stringify(view));
  }, LIVE_VIEW_MS);
  service.onStop("view", () => clearInterval(timer));
}

function lagMsOf(reader: Reader, nowMs: number): number | undefined {
  const heardToMs = reader.clock.nowMs(performance.now());
  if (heardToMs === undefined || !reader.reachable) return undefined;
  return reader.lag === 0 ? 0 : Math.max(0, nowMs - heardToMs);
}

/** Follows the silences, and waits a little for the first: what they name must not page at once. */
async function knowSilences(
  { log, signal }: LiveProcess,
  jsm: JetStreamManager,
  incidents: Incidents,
): Promise<void> {
  const known = Promise.withResolvers<void>();
  const onChange = (silences: readonly Silence[]) => {
    incidents.silences = silences;
    known.resolve();
  };
  void followSilences({ jsm, log, everyMs: SILENCES_INTERVAL_MS, onChange }, signal);
  await Promise.race([known.promise, pause(MAX_SILENCES_WAIT_MS, signal)]);
}

function openOutbox(
  { log }: LiveProcess,
  js: JetStreamClient,
  { latency }: Histograms,
  readers: readonly Reader[],
): Outbox {
  return new Outbox(js, MAX_WAITING_ALERTS, log, (alert) => {
    const { incident_id, status, summary } = alert;
    log.info("live.alerts.published", { incident_id, status, summary });
    const nowMs = estimateMs(readers);
    if (alert.kind !== "incident" || alert.status !== "open" || nowMs === undefined) return;
    latency.observe(Math.max(0, nowMs - alert.received_at) / 1_000);
  });
}

/** What a {@link Decider} stands on; `readers` may be filled later. */
interface DeciderParts {
  readonly settings: LiveSettings;
  readonly incidents: Incidents;
  readonly outbox: Outbox;
  readonly readers: readonly Reader[];
  readonly histograms: Histograms;
}

function openDecider({ settings, incidents, outbox, readers, histograms }: DeciderParts): Decider {
  return new Decider({
    newDetector: () =>
      new Detector({
        falsePagesPerDay: settings.TWOFOLD_LIVE_FALSE_PAGES_PER_DAY,
        maxSessions: settings.TWOFOLD_LIVE_MAX_SESSIONS,
        limits: { cells: settings.TWOFOLD_LIVE_MAX_CELLS },
      }),
    incidents,
    heardToMs: (decidedMs) =>
      commonTimeMs(readers.map(({ heardToMs }) => heardToMs).filter(isKnown), decidedMs),
    canDecide: () => !outbox.full,
    onAlert: (alert) => outbox.add(alert),
    onDecided: (tookMs) => histograms.evaluation.observe(tookMs / 1_000),
    monotonicMs: () => performance.now(),
  });
}

async function recoverIncidents(
  { settings, log, signal }: LiveProcess,
  jsm: JetStreamManager,
): Promise<Incidents> {
  const open = await untilReady(signal, log, async () => {
    try {
      return await openAlerts(jsm, log);
    } catch (error) {
      throw new RetryAfter(`open alerts: ${messageOf(error)}`, 1_000, { cause: error });
    }
  });
  if (open.size > 0) log.info("live.incidents.recovered", { incidents: open.size });
  return new Incidents({
    pagesPerMinute: settings.TWOFOLD_LIVE_PAGES_PER_MINUTE,
    silenceMs: settings.TWOFOLD_LIVE_SILENCE_MS,
  }, open);
}

/** Gives the detector what an earlier process learned, and the incidents that it opened. */
async function loadBaselines(
  decider: Decider,
  store: BaselinesStore,
  readers: readonly Reader[],
  signal: AbortSignal,
): Promise<void> {
  const nowMs = estimateMs(readers) ?? 0;
  const learned = await store.load(nowMs, signal);
  // Incidents first: when names fill the table, an open incident must have its place.
  decider.detector.restore(decider.options.incidents.openCells, nowMs);
  if (learned !== undefined) decider.detector.load(learned, nowMs);
}

function openReaders(
  { settings, log, health }: LiveProcess,
  nc: NatsConnection,
  js: JetStreamClient,
  copies: Copies<Reject>,
  decider: Decider,
): Reader[] {
  return heartbeatStreams(settings.TWOFOLD_PARTITIONS).map((stream) => {
    const tally = publishedTally(nc, stream, settings.TWOFOLD_TOTALS_INTERVAL_MS);
    const reader = new Reader({
      js,
      stream,
      copies,
      log,
      onHeartbeat: (heartbeat, receivedAtMs) => {
        decider.heartbeat(heartbeat, receivedAtMs);
        tally.add(receivedAtMs, heartbeat.played_ms);
      },
    });
    health.check(() => reader.notReady);
    return reader;
  });
}

function run(service: LiveProcess, parts: Parts): void {
  const { readers, copies, outbox, decider, store } = parts;
  const reading = Promise.all(readers.map((reader) => reader.run(service.signal)));
  reading.catch(service.fail);
  const ticking = service.health.rounds("evaluation");
  const tick = tickOf(parts);
  const timer = setInterval(() => {
    tick();
    ticking.works();
  }, TICK_MS);
  const save = () => store.save(decider.detector.snapshot());
  const saving = setInterval(save, SAVE_INTERVAL_MS);
  service.onStop("reading", async () => {
    // Each of these may wait for a server that hangs.
    const deadlineMs = performance.now() + MAX_FINISH_MS;
    const deadline = pause(MAX_FINISH_MS);
    await Promise.race([reading, deadline]);
    clearInterval(timer);
    clearInterval(saving);
    while (!copies.idle && performance.now() < deadlineMs) await pause(25);
    await Promise.race([Promise.all([outbox.flush(), save()]), deadline]);
    await Promise.race([Promise.all(readers.map((reader) => reader.finish())), pause(MAX_ACK_MS)]);
  });
}

/** The function that runs once a second. */
function tickOf({ readers, decider, incidents, outbox, silence }: Parts): () => void {
  let eventsSeen = 0;
  return () => {
    const events = readers.reduce((sum, reader) => sum + reader.events, 0);
    if (events > eventsSeen) silence.heartbeatSeen(performance.now());
    eventsSeen = events;
    decider.advance();
    // While NATS does not answer, it is unknown whether heartbeats arrive.
    if (!readers.every(({ reachable }) => reachable)) return;
    const nowMs = estimateMs(readers);
    const change = nowMs === undefined ? undefined : silence.check(performance.now());
    if (change && nowMs !== undefined) outbox.add(incidents.noData(change, Math.round(nowMs)));
  };
}

function achievedBy(readers: readonly Reader[]): Achieved {
  const progress = readers.reduce((sum, { events }) => sum + events, 0);
  return { progress, waiting: readers.reduce((sum, { lag }) => sum + lag, 0) };
}

/** What the clock of the streams shows now, about. */
function estimateMs(readers: readonly Reader[]): number | undefined {
  const known = readers.map(({ clock }) => clock.estimateMs(performance.now())).filter(isKnown);
  return known.length === 0 ? undefined : Math.max(...known);
}

function isKnown(ms: number | undefined): ms is number {
  return ms !== undefined;
}
