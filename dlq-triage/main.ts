/**
 * dlq-triage: keeps every quarantined heartbeat, groups them, and alerts when they are too many.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { type Consumer, jetstream } from "nats/jetstream";
import { environment, readSettings, type Settings } from "../shared/process/config.ts";
import { messageOf, RetryAfter } from "../shared/process/errors.ts";
import { type Lifecycle, pause, runService, untilReady } from "../shared/process/lifecycle.ts";
import { Log } from "../shared/process/log.ts";
import { Metrics } from "../shared/process/metrics.ts";
import { connectNats } from "../shared/process/nats.ts";
import { serveHttp, statusApp } from "../shared/process/status.ts";
import { DURABLE, QUARANTINE } from "../shared/contract/topology.ts";
import { Alarm } from "./alarm.ts";
import { consumeQuarantine } from "./consumer.ts";
import { Health } from "./health.ts";
import type { Limit } from "./limits.ts";
import { Quarantine } from "./quarantine.ts";
import { triageSettings } from "./settings.ts";

type TriageSettings = Settings<typeof triageSettings>;

if (import.meta.main) {
  await runService(new Log("triage"), start);
}

async function start(life: Lifecycle): Promise<void> {
  const settings = readSettings(triageSettings, environment());
  const log = new Log("triage", settings.TWOFOLD_LOG_LEVEL);
  const metrics = new Metrics();
  const health = new Health();
  const app = statusApp({ metrics, notReady: () => health.trouble() });
  const { TWOFOLD_HTTP_HOST: hostname, TWOFOLD_HTTP_PORT: port } = settings;
  serveHttp(life, log, { hostname, port }, app);

  const store = new Quarantine(settings.TWOFOLD_POSTGRES_URL);
  life.onStop("postgres", () => store[Symbol.asyncDispose]());
  const applied = await untilReady(life.signal, log, () => store.migrate());
  log.info("schema is up to date", { applied });

  const nc = await untilReady(life.signal, log, () => connectNats(settings, log));
  life.onStop("nats", () => nc.close());
  void nc.closed().then((error) => life.fail(error ?? new Error("NATS connection closed")));
  const durable = await untilReady(life.signal, log, () => findDurable(nc));

  const alarm = new Alarm(store, jetstream(nc), alarmOptions(settings));
  const added = metrics.counter("twofold_triage_entries_total", "Quarantined heartbeats kept");
  const known = metrics.counter("twofold_triage_known_total", "Deliveries of kept entries");
  // A counter that is not there until it counts hides its first increase.
  for (const counter of [added, known]) counter.add(0);
  const consuming = consumeQuarantine({
    durable,
    store,
    log,
    added,
    known,
    report: (trouble) => health.report("reading", trouble),
  }, life.signal).catch(life.fail);
  const watching = watch({ alarm, durable, metrics, health, log }, settings, life.signal)
    .catch(life.fail);
  life.onStop("work", async () => void await Promise.all([consuming, watching]));
}

async function findDurable(nc: NatsConnection): Promise<Consumer> {
  try {
    return await jetstream(nc).consumers.get(QUARANTINE, DURABLE.triage);
  } catch (error) {
    const message = `durable ${DURABLE.triage} of ${QUARANTINE}: ${messageOf(error)}`;
    throw new RetryAfter(`${message} (has deno task provision run?)`, 1_000, { cause: error });
  }
}

function alarmOptions(settings: TriageSettings) {
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

interface WatchParts {
  readonly alarm: Alarm;
  readonly durable: Consumer;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly log: Log;
}

/** Evaluates the limits on a clock of its own: an alert must resolve when nothing arrives. */
async function watch(
  { alarm, durable, metrics, health, log }: WatchParts,
  settings: TriageSettings,
  signal: AbortSignal,
): Promise<void> {
  const gauges = {
    depth: metrics.gauge("twofold_triage_depth_entries", "Entries within the depth window"),
    growth: metrics.gauge("twofold_triage_growth_per_minute", "Entries within the last minute"),
    groups: metrics.gauge("twofold_triage_groups", "Groups of reason, path and build"),
    open: metrics.gauge("twofold_triage_open_alerts", "Alerts of the quarantine that are open"),
    lag: metrics.gauge("twofold_triage_lag_entries", "Entries in QUARANTINE not yet kept"),
  };
  while (!signal.aborted) {
    try {
      const { pressure, openAlerts } = await alarm.evaluate(Date.now());
      gauges.depth.set(pressure.depth);
      gauges.growth.set(pressure.growthPerMinute);
      gauges.groups.set(pressure.groups);
      gauges.open.set(openAlerts);
      gauges.lag.set(await lagOf(durable));
      health.report("watching", undefined);
    } catch (error) {
      if (!(error instanceof RetryAfter)) throw error;
      health.report("watching", error.message);
      log.warn("limits not evaluated", { error: error.message });
    }
    await pause(settings.TWOFOLD_TRIAGE_EVALUATE_MS, signal);
  }
}

async function lagOf(durable: Consumer): Promise<number> {
  try {
    const info = await durable.info();
    return info.num_pending + info.num_ack_pending;
  } catch (error) {
    throw new RetryAfter(`QUARANTINE: ${messageOf(error)}`, 1_000, { cause: error });
  }
}
