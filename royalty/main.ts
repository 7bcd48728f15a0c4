/**
 * The royalty service.
 *
 * @module
 */
import { environment, readSettings, type Settings } from "../shared/process/config.ts";
import { Stop } from "../shared/process/errors.ts";
import { type Lifecycle, runService, untilReady } from "../shared/process/lifecycle.ts";
import { Log } from "../shared/process/log.ts";
import { Metrics } from "../shared/process/metrics.ts";
import { readMigrations } from "../shared/process/migrate.ts";
import { connectNats } from "../shared/process/nats.ts";
import { serveHttp, statusApp } from "../shared/process/status.ts";
import { BusinessCalendar } from "./statement/business_day.ts";
import { startClosing } from "./closing/thread.ts";
import { StreamWorker, type WorkerOptions } from "./posting/worker.ts";
import { startDriftMonitor } from "./drift/monitor.ts";
import { startFinance } from "./finance/service.ts";
import { startKeyPartitions } from "./posting/key_partitions.ts";
import { openBooks } from "./books/connection.ts";
import { RoyaltyMetrics } from "./posting/posting_metrics.ts";
import { countedStreams, royaltySettings } from "./settings.ts";

/** The clock of everything below, ms since the epoch. */
const now = Date.now;

async function start(life: Lifecycle): Promise<void> {
  const settings = readSettings(royaltySettings, environment());
  const log = new Log("royalty", settings.TWOFOLD_LOG_LEVEL);
  const metrics = new Metrics();
  const royaltyMetrics = new RoyaltyMetrics(metrics);
  const workers: StreamWorker[] = [];
  let trouble: string | undefined = "waiting for NATS and Postgres";
  const notReady = () => trouble ?? workers.map((worker) => worker.trouble).find(Boolean);
  const address = { hostname: settings.TWOFOLD_HTTP_HOST, port: settings.TWOFOLD_HTTP_PORT };
  serveHttp(life, log, address, statusApp({ metrics, notReady }));

  const migrations = await readMigrations(new URL("migrations/", import.meta.url));
  await untilReady(
    life.signal,
    log,
    () => openBooks(settings.TWOFOLD_POSTGRES_URL, settings.TWOFOLD_BUSINESS_ZONE, migrations),
  );
  await startKeyPartitions(life, settings, log, now);
  const nc = await untilReady(life.signal, log, () => connectNats(settings, log));
  life.onStop("nats", () => nc.close());
  void nc.closed().then((error) => life.fail(error ?? new Stop("the NATS connection was closed")));
  startClosing(life, settings, metrics, log);

  const options = {
    ...workerOptions(settings),
    now,
    witness: startDriftMonitor(life, nc, settings, metrics, log, now),
  };
  for (const stream of countedStreams(settings)) {
    workers.push(new StreamWorker(stream, nc, options, royaltyMetrics, log));
  }
  trouble = undefined;
  const running = Promise.all(workers.map((worker) => worker.run(life.signal)));
  running.catch(life.fail);
  life.onStop("workers", async () => void (await running));
  await startFinance(life, log, metrics, settings, now);
}

function workerOptions(
  settings: Settings<typeof royaltySettings>,
): Omit<WorkerOptions, "now" | "witness"> {
  const calendar = new BusinessCalendar(settings.TWOFOLD_BUSINESS_ZONE);
  return {
    databaseUrl: settings.TWOFOLD_POSTGRES_URL,
    maxEvents: settings.TWOFOLD_ROYALTY_BATCH_EVENTS,
    maxWaitMs: settings.TWOFOLD_ROYALTY_BATCH_WAIT_MS,
    rules: {
      dayOf: (instant) => calendar.dayOf(instant),
      latenessHorizonMs: settings.TWOFOLD_LATENESS_HORIZON_MS,
      futureToleranceMs: settings.TWOFOLD_FUTURE_TOLERANCE_MS,
    },
  };
}

if (import.meta.main) await runService(new Log("royalty"), start);
