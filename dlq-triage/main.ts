/**
 * The triage service: stores quarantined heartbeats, groups them, and alerts when there are too
 * many.
 *
 * @module
 */
import { jetstream } from "nats/jetstream";
import { sendPulses } from "../shared/contract/pulses.ts";
import { DURABLE, QUARANTINE } from "../shared/contract/topology.ts";
import { streamClocks } from "../shared/process/clock/clocks.ts";
import { connectService } from "../shared/process/nats.ts";
import { untilReady } from "../shared/process/retry.ts";
import { runService, type Service } from "../shared/process/service.ts";
import { Alarm } from "./alarm.ts";
import { consumeQuarantine, findDurable } from "./consumer.ts";
import type { Limit } from "./limits.ts";
import { Quarantine } from "./quarantine.ts";
import { triageSettings } from "./settings.ts";
import { watchLimits } from "./watch.ts";
import { watchPager } from "./watch_pager.ts";

type TriageProcess = Service<typeof triageSettings>;

async function start(service: TriageProcess): Promise<void> {
  service.listen();
  const { settings, log, metrics, health, signal } = service;
  const store = new Quarantine(settings.TWOFOLD_POSTGRES_URL, {
    maxGroups: settings.TWOFOLD_TRIAGE_MAX_GROUPS,
  });
  service.onStop("postgres", () => store[Symbol.asyncDispose]());
  const postgres = health.part("postgres", "Postgres has not answered yet");
  const [nc] = await Promise.all([
    connectService(service),
    untilReady(signal, log, async () => {
      log.info("triage.schema.migrated", { applied: await store.migrate() });
    }, postgres),
  ]);
  const quarantine = health.part("quarantine", "the durable of QUARANTINE is not found yet");
  const durable = await untilReady(signal, log, () => findDurable(nc), quarantine);

  const achieved: { progress: number; waiting: number | null } = { progress: 0, waiting: null };
  const clocks = await streamClocks(nc, [QUARANTINE], Date.now, DURABLE.triage);
  clocks.watch(service);
  sendPulses(service, nc, () => achieved, clocks);
  watchPager(service, nc, () => clocks.sharedMs());
  const consuming = consumeQuarantine({
    durable,
    store,
    log,
    added: metrics.counter("twofold_triage_entries_total", "Quarantined heartbeats stored"),
    known: metrics.counter(
      "twofold_triage_known_total",
      "Deliveries of entries that were stored before",
    ),
    health: health.rounds("reading"),
    onStored: (entries) => achieved.progress += entries,
  }, signal).catch(service.fail);
  const watching = watchLimits(service, {
    store,
    alarm: new Alarm(store, jetstream(nc), alarmOptions(settings)),
    durable,
    // Entries are dated by their stream.
    nowMs: () => clocks.agreedMs(),
    onLag: (entries) => achieved.waiting = entries,
  }).catch(service.fail);
  service.onStop("work", async () => void await Promise.all([consuming, watching]));
}

function alarmOptions(settings: TriageProcess["settings"]) {
  const share = settings.TWOFOLD_TRIAGE_RESOLVE_SHARE;
  const limit = (measure: Limit["measure"], opensAbove: number): Limit => ({
    measure,
    opensAbove,
    resolvesBelow: opensAbove * share,
  });
  return {
    depthWindowMs: settings.TWOFOLD_TRIAGE_DEPTH_WINDOW_MS,
    limits: [
      limit("depth", settings.TWOFOLD_TRIAGE_DEPTH_LIMIT),
      limit("growth_per_minute", settings.TWOFOLD_TRIAGE_GROWTH_LIMIT),
    ],
  };
}

if (import.meta.main) await runService("triage", triageSettings, start);
