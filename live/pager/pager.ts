/**
 * Wires the pager: lease → records → intake and couriers.
 *
 * Any number of pagers may run. The one that holds the lease reads ALERTS and delivers; the others
 * stand by, and one of them goes on within about {@link LEASE_MS} of its death.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstreamManager } from "nats/jetstream";
import { type FindingsOptions, sendPulses, watchPulses } from "../../shared/contract/pulses.ts";
import { PAGER_LEASE_SUBJECT, PAGER_STATE } from "../../shared/contract/topology.ts";
import { wrongSettings } from "../../shared/process/config.ts";
import type { ComparedClocks } from "../../shared/process/clock/clocks.ts";
import { Lease } from "../../shared/process/lease/lease.ts";
import { natsMessageOf } from "../../shared/process/nats.ts";
import { pause, untilReady } from "../../shared/process/retry.ts";
import type { Service } from "../../shared/process/service.ts";
import { startCanaries } from "./canary/canaries.ts";
import type { Board } from "./board/board.ts";
import type { PagerAbout } from "./board/board_view.ts";
import { Courier } from "./courier.ts";
import { watchFilling } from "./filling/filling.ts";
import { isUnheard } from "./incident_record.ts";
import { findPagerDurable, readAlerts } from "./intake.ts";
import { NatsSilence } from "./nats_silence.ts";
import { PagerMetrics } from "./pager_metrics.ts";
import { type Receiver, withSecrets } from "./receivers/receiver.ts";
import { Records } from "./records.ts";
import type { pagerSettings } from "./settings.ts";

type PagerProcess = Service<typeof pagerSettings>;

/** Time after which the lease of a pager that died is free, in ms. */
const LEASE_MS = 5_000;
const STANDBY_MS = 100;
/** Interval between two looks at what the pager that delivers has stored, in ms. */
const REFRESH_MS = 2_000;
const PRUNE_INTERVAL_MS = 60_000;
const RETRY_MS = 500;

/** What {@link startPager} takes from outside. */
export interface PagerOutside {
  /** Environment variables, for the secrets that the receivers name. */
  readonly secrets: Readonly<Record<string, string | undefined>>;
  /** The own clock and that of ALERTS. */
  readonly clocks: ComparedClocks;
  /** What shows the state of this pager. */
  readonly board: Board;
}

/** What a term of this pager runs. */
interface Parts {
  readonly lease: Lease;
  readonly records: Records;
  readonly couriers: readonly Courier[];
  /** Reads alerts until the term ends. */
  readonly read: (term: AbortSignal) => Promise<void>;
}

/** Starts the pager on `nc`. Throws {@link wrongSettings} when a secret of a receiver is missing. */
export async function startPager(
  service: PagerProcess,
  nc: NatsConnection,
  { secrets, clocks, board }: PagerOutside,
): Promise<void> {
  const { health, log, signal } = service;
  const receivers = receiversOf(service, secrets);
  clocks.watch(service);
  const nowMs = () => clocks.sharedMs();
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  board.follow(nc, jsm, signal);
  const lease = new Lease({
    jsm,
    stream: PAGER_STATE,
    subject: PAGER_LEASE_SUBJECT,
    holder: crypto.randomUUID(),
    leaseMs: LEASE_MS,
    renewMs: 1_000,
    onRetry: (error) => log.warn("live.pager.lease_retry", { error: natsMessageOf(error) }),
  });
  const names = receivers.map(({ name }) => name);
  const records = new Records({
    ...{ jsm, lease, log, receivers: names },
    nowMs: () => clocks.earliestMs(),
  });
  const metrics = new PagerMetrics(service.metrics);
  const mayDeliver = () => lease.isHeld;
  const couriers = receivers.map((receiver) =>
    new Courier({ receiver, records, mayDeliver, metrics, log, clocks })
  );
  pageWithoutNats(service, nc, { receivers, metrics, lease, clocks });
  records.onChange = () => couriers.forEach((courier) => courier.wake());
  sendPulses(service, nc, () => ({
    progress: metrics.achieved,
    // While nobody has the lease, everything waits.
    waiting: records.all().filter((record) => isUnheard(record, names)).length +
      Number(!lease.isTaken),
  }), clocks);
  const outlook = outlookOf(service, nc, mayDeliver, nowMs);
  const watch = watchPulses({
    ...outlook,
    services: service.settings.TWOFOLD_PAGER_SERVICES,
  }, signal);
  startCanaries(service, outlook);
  watchFilling(service, jsm, outlook);
  metrics.watch({
    isLeading: mayDeliver,
    incidents: () => records.open,
    waiting: () => waitingOf(couriers),
    pulseAges: () => watch.ages(performance.now()),
  });
  board.show({
    watch,
    about: () => aboutOf(lease, couriers),
    deliveries: () => lease.isHeld ? { receivers: names, records: records.all() } : undefined,
  });
  const part = health.part("durable", "the durable of ALERTS is not found yet");
  const durable = await untilReady(signal, log, () => findPagerDurable(nc), part);
  const reading = health.rounds("reading");
  const intake = { durable, records, mayStore: mayDeliver, metrics, health: reading, log };
  const read = (term: AbortSignal) => readAlerts(intake, term);
  run(service, { lease, records, couriers, read }, () => reading.works());
}

function waitingOf(couriers: readonly Courier[]) {
  return couriers.map((each) => [each.parts.receiver.name, each.waiting] as const);
}

/** What the board says about this pager. */
function aboutOf(lease: Lease, couriers: readonly Courier[]): PagerAbout {
  return {
    instance: lease.options.holder,
    delivers: lease.isHeld,
    isDelivered: lease.isTaken,
    deliverer: lease.knownHolder,
    waiting: waitingOf(couriers),
  };
}

function run(service: PagerProcess, parts: Parts, onStandby: () => void): void {
  const { lease, records } = parts;
  const pruning = setInterval(() => records.prune(), PRUNE_INTERVAL_MS);
  const holding = lease.run();
  const running = runTerms(service, parts, onStandby);
  running.catch(service.fail);
  service.onStop("pager", async () => {
    clearInterval(pruning);
    await running;
    await lease.release();
    await holding;
  });
}

/** What {@link pageWithoutNats} needs. */
interface WithoutNats {
  readonly receivers: readonly Receiver[];
  readonly metrics: PagerMetrics;
  readonly lease: Pick<Lease, "knownHolder" | "answeredMs">;
  readonly clocks: ComparedClocks;
}

/** Pages when NATS cannot be reached or stores nothing, with couriers that need nothing of it. */
function pageWithoutNats(
  service: PagerProcess,
  nc: NatsConnection,
  { receivers, metrics, lease, clocks }: WithoutNats,
): void {
  const { log, signal } = service;
  const silence = new NatsSilence({
    holder: () => lease.knownHolder,
    answeredMs: () => lease.answeredMs,
    nowMs: () => clocks.sharedMs(),
    onChange: () => couriers.forEach((courier) => courier.wake()),
  });
  const mayDeliver = () => true;
  const couriers = receivers.map((receiver) =>
    new Courier({ receiver, records: silence, mayDeliver, metrics, log, clocks })
  );
  void silence.follow(nc);
  const running = Promise.all(couriers.map((courier) => courier.run(signal)));
  running.catch(service.fail);
  service.onStop("paging without NATS", async () => void await running);
}

/** How the pager watches pulses and canaries: the one that delivers also alerts. */
function outlookOf(
  { log }: PagerProcess,
  nc: NatsConnection,
  mayAlert: () => boolean,
  nowMs: () => number,
): FindingsOptions {
  return {
    nc,
    mayAlert,
    nowMs,
    onAlert: ({ incident_id, status, summary }) =>
      log.warn("live.pager.alert_published", { incident_id, status, summary }),
    onRetry: (error) => log.warn("live.pager.alert_retry", { error: natsMessageOf(error) }),
  };
}

function receiversOf(
  { settings, log }: PagerProcess,
  secrets: PagerOutside["secrets"],
): readonly Receiver[] {
  const found = withSecrets(settings.TWOFOLD_PAGER_RECEIVERS ?? [], secrets);
  if ("missing" in found) throw wrongSettings(found.missing);
  if (found.receivers.length === 0) log.warn("live.pager.no_receivers");
  return found.receivers;
}

/** Delivers whenever this pager has the lease, until the service stops. */
async function runTerms(
  { log, signal }: PagerProcess,
  { lease, records, couriers, read }: Parts,
  onStandby: () => void,
): Promise<void> {
  let wasLeading: boolean | undefined;
  let refreshAtMs = 0;
  while (!signal.aborted) {
    if (!lease.isHeld) {
      if (wasLeading !== false) log.info("live.pager.standby");
      wasLeading = false;
      onStandby();
      if (performance.now() >= refreshAtMs) {
        // What cannot be read now stays in memory as it is.
        await records.refresh().catch(() => {});
        refreshAtMs = performance.now() + REFRESH_MS;
      }
      await pause(STANDBY_MS, signal);
      continue;
    }
    if (wasLeading !== true) log.info("live.pager.leading");
    wasLeading = true;
    const term = AbortSignal.any([signal, lease.term]);
    try {
      await records.load();
    } catch (error) {
      log.warn("live.pager.reading_retry", { error: natsMessageOf(error) });
      await pause(RETRY_MS, term);
      continue;
    }
    await Promise.all([read(term), ...couriers.map((courier) => courier.run(term))]);
  }
}
