/**
 * Wires the parts of live: readers → observations → timeline → decider (detector, incidents) →
 * outbox.
 *
 * Any number of processes run. Each reads its share of the streams and passes what it reads on as
 * observations; each takes in the observations of all; the one that leads tells what it finds.
 *
 * Time is the streams': receipts, and a monotonic clock between them. The time of day of this
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
import { CanaryEchoes } from "../shared/contract/canary/canary_echoes.ts";
import type { Achieved } from "../shared/contract/pulse.ts";
import { sendPulses } from "../shared/contract/pulses.ts";
import { quarantine, type Reject } from "../shared/contract/quarantine.ts";
import {
  DURABLE,
  heartbeatStreams,
  LIVE_STATE,
  LIVE_VIEW_SUBJECT,
  liveLeaseSubject,
} from "../shared/contract/topology.ts";
import { LIVE_VIEW_MS } from "../shared/contract/view/live_view.ts";
import { streamClocks } from "../shared/process/clock/clocks.ts";
import type { Settings } from "../shared/process/config.ts";
import { Lease } from "../shared/process/lease/lease.ts";
import { natsMessageOf } from "../shared/process/nats.ts";
import { pause } from "../shared/process/retry.ts";
import type { Service } from "../shared/process/service.ts";
import { Detector } from "./detect/detector.ts";
import { BaselinesStore } from "./incidents/baselines_store.ts";
import { Decider } from "./incidents/decider.ts";
import { Outbox } from "./incidents/outbox.ts";
import { followSilences } from "./incidents/silences.ts";
import { Leadership } from "./leadership.ts";
import { liveHistograms, type LiveParts, registerLiveMetrics } from "./live_metrics.ts";
import { InputWatch } from "./input_watch.ts";
import { liveView } from "./live_view.ts";
import type { liveSettings } from "./settings.ts";
import { ObservationFeed } from "./sharing/observation_feed.ts";
import { ObservationWriter } from "./sharing/observation_writer.ts";
import { Partition } from "./sharing/partition.ts";
import { Presence, shareOf } from "./sharing/presence.ts";
import { Timeline } from "./sharing/timeline.ts";
import { Copies } from "./watch/copies.ts";
import { Reader } from "./watch/reader.ts";
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
/** Maximum time that a stop waits for copies and alerts together. */
const MAX_FINISH_MS = 2_000;
/** Observations that a process reads when it starts: the longest span and some more. */
const WINDOW_MS = 90_000;
const LEASE_MS = 4_000;
const LEASE_RENEW_MS = 500;

/** The connections of live: what may wait behind heartbeats, and what may not. */
export interface Connections {
  readonly heartbeats: NatsConnection;
  readonly control: NatsConnection;
}

/** The parts of live. */
interface Parts extends LiveParts {
  readonly watch: InputWatch;
  readonly outbox: Outbox;
  readonly partitions: readonly Partition[];
  readonly feed: ObservationFeed;
  readonly presence: Presence;
  readonly leaderLease: Lease;
  readonly leadership: Leadership;
  readonly jsm: JetStreamManager;
}

/**
 * Creates the parts of live and starts them. Resolves once reading has started; the stop of the
 * service finishes its work.
 */
export async function startLive(
  service: LiveProcess,
  connections: Connections,
  nowMs: () => number,
): Promise<void> {
  const { heartbeats, control: nc } = connections;
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const { settings, log, metrics, signal } = service;
  const streams = heartbeatStreams(settings.TWOFOLD_PARTITIONS);
  const histograms = liveHistograms(metrics);
  const decider: Decider = openDecider(settings, histograms, () => ({ timeline, outbox }));
  const timeline = new Timeline(streams, (lane, skip) => decider.skipped(lane, skip));
  const outbox = openOutbox(service, jsm, histograms, timeline);
  const js = jetstream(heartbeats, { timeout: 2_000 });
  const copies = new Copies<Reject>(COPY_LIMITS, (reject) => quarantine(js, "live", reject), log);
  const presence = new Presence(nc, processId(nowMs()));
  const share = () => shareOf(streams, presence.processes, presence.id);
  const partitions = await openPartitions(
    service,
    { heartbeats, nc, jsm, js, copies, presence, share },
  );
  const readers = partitions.map(({ options: { reader } }) => reader);
  const clocks = await streamClocks(nc, streams, nowMs, DURABLE.live);
  clocks.watch(service);
  sendPulses(service, nc, () => achievedBy(readers, decider), clocks);
  presence.start();
  await Promise.all(readers.map((reader) => reader.waitForDurable(signal)));
  const store = new BaselinesStore(jsm.jetstream(), jsm, log);
  const startMs = estimateMs(readers) ?? nowMs();
  const learned = await store.load(startMs, signal);
  if (learned !== undefined) decider.detector.load(learned, startMs);
  const silenceMs = settings.TWOFOLD_LIVE_SILENCE_MS;
  const watch = new InputWatch({ timeline, decider, outbox, silenceMs });
  const leaderLease = leaseOf(service, jsm, presence, "leader");
  const leadership = new Leadership({
    ...{ jsm, presence, decider, outbox, log },
    lease: leaderLease,
    paging: { pagesPerMinute: settings.TWOFOLD_LIVE_PAGES_PER_MINUTE, silenceMs },
    heardToMs: () => timeline.heardToMs(decider.decidedMs),
    isCaughtUp: () => feed.isCaughtUp,
    onLead: (incidents) => {
      const hasBeenFed = readers.some(({ deliveredBefore }) => deliveredBefore);
      watch.lead(incidents, hasBeenFed || timeline.events > 0);
    },
  });
  const feed = openFeed(service, { jsm, decider, timeline, leadership, watch });
  const parts: Parts = {
    ...{ readers, copies, decider, outbox, store, timeline, leadership, partitions, feed },
    ...{ presence, leaderLease, jsm, watch },
  };
  registerLiveMetrics(metrics, parts);
  await knowSilences(service, jsm, leadership);
  run(service, parts, startMs - WINDOW_MS);
  publishViews(service, nc, parts, nowMs);
}

/** Publishes what live sees every {@link LIVE_VIEW_MS}, while this process leads. */
function publishViews(
  service: LiveProcess,
  nc: Pick<NatsConnection, "publish" | "isClosed" | "isDraining">,
  { decider, timeline, presence }: Parts,
  nowMs: () => number,
): void {
  const timer = setInterval(() => {
    const { incidents, coverage } = decider;
    if (incidents === undefined || nc.isClosed() || nc.isDraining()) return;
    const view = liveView({
      decider,
      incidents,
      instance: presence.id,
      nowMs: nowMs(),
      coverage,
      lags: timeline.lanes.map(({ stream, lagMs, heardToMs }) => [
        stream,
        heardToMs === undefined ? undefined : lagMs,
      ]),
    });
    nc.publish(LIVE_VIEW_SUBJECT, JSON.stringify(view));
  }, LIVE_VIEW_MS);
  service.onStop("view", () => clearInterval(timer));
}

// Processes are ordered by when they began, so that a new one takes nothing from an old one.
function processId(startedMs: number): string {
  return `${startedMs.toString(36).padStart(9, "0")}-${crypto.randomUUID().slice(0, 8)}`;
}

function leaseOf(
  { log }: LiveProcess,
  jsm: JetStreamManager,
  presence: Presence,
  part: string,
): Lease {
  return new Lease({
    jsm,
    stream: LIVE_STATE,
    subject: liveLeaseSubject(part),
    holder: presence.id,
    leaseMs: LEASE_MS,
    renewMs: LEASE_RENEW_MS,
    onRetry: (error) => log.warn("live.leader.lease_retry", { part, error: natsMessageOf(error) }),
  });
}

/** Follows the silences, and waits a little for the first: what they name must not page at once. */
async function knowSilences(
  { log, signal }: LiveProcess,
  jsm: JetStreamManager,
  leadership: Leadership,
): Promise<void> {
  const known = Promise.withResolvers<void>();
  const onChange: Parameters<typeof followSilences>[0]["onChange"] = (silences) => {
    leadership.silences = silences;
    known.resolve();
  };
  void followSilences({ jsm, log, everyMs: SILENCES_INTERVAL_MS, onChange }, signal);
  await Promise.race([known.promise, pause(MAX_SILENCES_WAIT_MS, signal)]);
}

function openOutbox(
  { log }: LiveProcess,
  jsm: JetStreamManager,
  { latency, detection }: Histograms,
  timeline: Timeline,
): Outbox {
  return new Outbox(jsm.jetstream(), MAX_WAITING_ALERTS, log, (alert) => {
    const { incident_id, status, summary } = alert;
    log.info("live.alerts.published", { incident_id, status, summary });
    const nowMs = timeline.newestMs;
    if (alert.kind !== "incident" || alert.status !== "open" || nowMs === undefined) return;
    latency.observe(Math.max(0, nowMs - alert.received_at) / 1_000);
    detection.observe(Math.max(0, nowMs - alert.onset_at) / 1_000);
  });
}

function openDecider(
  settings: LiveSettings,
  histograms: Histograms,
  parts: () => { readonly timeline: Timeline; readonly outbox: Outbox },
): Decider {
  return new Decider({
    newDetector: () =>
      new Detector({
        falsePagesPerDay: settings.TWOFOLD_LIVE_FALSE_PAGES_PER_DAY,
        maxSessions: settings.TWOFOLD_LIVE_MAX_SESSIONS,
        limits: { cells: settings.TWOFOLD_LIVE_MAX_CELLS },
      }),
    timeline: {
      heardToMs: (decidedMs) => parts().timeline.heardToMs(decidedMs),
      pour: (untilMs, onHeartbeat, mayGoOn) => parts().timeline.pour(untilMs, onHeartbeat, mayGoOn),
      coverage: (nowMs) => parts().timeline.coverage(nowMs),
      get firstMs() {
        return parts().timeline.firstMs;
      },
    },
    canDecide: () => !parts().outbox.full,
    onAlert: (alert) => parts().outbox.add(alert),
    onDecided: (tookMs) => histograms.evaluation.observe(tookMs / 1_000),
    monotonicMs: () => performance.now(),
  });
}

/** What {@link openPartitions} needs. */
interface PartitionParts {
  readonly heartbeats: NatsConnection;
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  /** Of `heartbeats`. */
  readonly js: JetStreamClient;
  readonly copies: Copies<Reject>;
  readonly presence: Presence;
  readonly share: () => readonly string[];
}

async function openPartitions(
  service: LiveProcess,
  { heartbeats, nc, jsm, js, copies, presence, share }: PartitionParts,
): Promise<Partition[]> {
  const { settings, log, health } = service;
  const readingJsm = await jetstreamManager(heartbeats, { checkAPI: false });
  const echoes = new CanaryEchoes(nc, "live");
  return heartbeatStreams(settings.TWOFOLD_PARTITIONS).map((stream) => {
    const tally = publishedTally(nc, stream, settings.TWOFOLD_TOTALS_INTERVAL_MS);
    const writer = new ObservationWriter({ js: jsm.jetstream(), stream, by: presence.id, log });
    const reader = new Reader({
      js,
      jsm: readingJsm,
      stream,
      copies,
      log,
      sink: writer,
      onCanary: (eventId, delivery) => echoes.echo(stream, eventId, delivery),
      onHeartbeat: (heartbeat, receivedAtMs) => tally.add(receivedAtMs, heartbeat.played_ms),
      onGap: () => tally.interrupt(),
    });
    writer.reader = reader;
    health.check(() => reader.notReady);
    health.check(() => writer.isStuck ? `observations of ${stream} are not stored` : undefined);
    const lease = leaseOf(service, jsm, presence, `reader.${stream}`);
    const isMine = () => presence.isKnown && share().includes(stream);
    return new Partition({ reader, writer, lease, isMine, log });
  });
}

function openFeed(
  { log, health, signal }: LiveProcess,
  { jsm, decider, timeline, leadership, watch }: Pick<
    Parts,
    "jsm" | "decider" | "timeline" | "leadership" | "watch"
  >,
): ObservationFeed {
  return new ObservationFeed({
    jsm,
    log,
    health: health.part("observations"),
    onBatch: (stream, batch) => {
      watch.heard(stream);
      if (batch.receivedAtMs < Infinity) decider.beginAt(batch.receivedAtMs);
      timeline.add(stream, batch);
    },
    onLooked: async () => {
      leadership.look();
      // Between its turns the process answers, reads and renews its leases.
      while (!decider.advance() && !signal.aborted) await pause(0);
    },
  });
}

function run(service: LiveProcess, parts: Parts, fromMs: number): void {
  const { copies, outbox, decider, store, partitions, feed } = parts;
  const { leadership, leaderLease, presence, watch } = parts;
  const ended = new AbortController();
  const reading = Promise.all(partitions.map((partition) => partition.run(service.signal)));
  reading.catch(service.fail);
  const leading = leaderLease.run();
  const feeding = feed.run(fromMs, ended.signal);
  feeding.catch(service.fail);
  const ticking = service.health.rounds("evaluation");
  const timer = setInterval(() => {
    leadership.look();
    watch.tick();
    ticking.works();
  }, TICK_MS);
  const save = async () => {
    if (leadership.isLeading) await store.save(decider.detector.snapshot());
  };
  const saving = setInterval(save, SAVE_INTERVAL_MS);
  service.onStop("reading", async () => {
    // Each of these may wait for a server that hangs.
    presence.leave();
    await reading;
    const deadlineMs = performance.now() + MAX_FINISH_MS;
    const deadline = pause(MAX_FINISH_MS);
    clearInterval(timer);
    clearInterval(saving);
    const saved = save();
    while (!copies.idle && performance.now() < deadlineMs) await pause(25);
    ended.abort();
    leadership.end();
    await Promise.race([Promise.all([outbox.flush(), saved]), deadline]);
    await Promise.race([leaderLease.release().then(() => leading), deadline]);
    await Promise.race([feeding, deadline]);
  });
}

function achievedBy(readers: readonly Reader[], { decidedMs }: Decider): Achieved {
  const read = readers.reduce((sum, { events, skipped }) => sum + events + skipped, 0);
  const decided = Number.isFinite(decidedMs) ? decidedMs : 0;
  const waiting = readers.reduce((sum, { lag, isReading }) => sum + (isReading ? lag : 0), 0);
  return { progress: read + decided, waiting };
}

/** What the clock of the streams shows now, about. */
function estimateMs(readers: readonly Reader[]): number | undefined {
  const known = readers.flatMap(({ clock }) => clock.estimateMs(performance.now()) ?? []);
  return known.length === 0 ? undefined : Math.max(...known);
}
