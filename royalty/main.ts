/**
 * The royalty service: counts exact minutes, closes days, serves statements.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { CanaryEchoes } from "../shared/contract/canary/canary_echoes.ts";
import { sendPulses } from "../shared/contract/pulses.ts";
import { connectService } from "../shared/process/nats.ts";
import { untilReady } from "../shared/process/retry.ts";
import { runService, type Service } from "../shared/process/service.ts";
import { openBooks } from "./books/connection.ts";
import { startClosing } from "./closing/thread.ts";
import { startDriftMonitor } from "./drift/monitor.ts";
import { startFinance } from "./finance/service.ts";
import { canaryObserver } from "./posting/canary_observer.ts";
import { startKeyPartitions } from "./posting/key_partitions.ts";
import { watchLag } from "./posting/lag_watch.ts";
import { PostingMetrics } from "./posting/posting_metrics.ts";
import { StreamWorker, type WorkerOptions } from "./posting/worker.ts";
import { startCopies } from "./rejects/start_copies.ts";
import { countedStreams, royaltyRule, royaltySettings } from "./settings.ts";
import { BusinessCalendar } from "./statement/business_day.ts";

type RoyaltyProcess = Service<typeof royaltySettings>;

/** The clock that is passed to all parts, ms since the epoch. */
const now = Date.now;

async function start(service: RoyaltyProcess): Promise<void> {
  service.listen();
  const { settings, health, log, signal } = service;
  const postgres = health.part("postgres", "Postgres has not answered yet");
  const [nc] = await Promise.all([
    connectService(service),
    untilReady(
      signal,
      log,
      () => openBooks(settings.TWOFOLD_POSTGRES_URL, settings.TWOFOLD_BUSINESS_ZONE),
      postgres,
    ),
  ]);
  await startKeyPartitions(service, now);
  startClosing(service);
  startWorkers(service, nc);
  startCopies(service, nc, now);
  await startFinance(service, now);
}

function startWorkers(service: RoyaltyProcess, nc: NatsConnection): void {
  const { settings, health, log, signal } = service;
  const streams = countedStreams(settings);
  const metrics = new PostingMetrics(service.metrics, streams);
  sendPulses(service, nc, () => metrics.achieved, now);
  const options: WorkerOptions = {
    ...workerOptions(settings),
    observers: [
      startDriftMonitor(service, nc, now),
      canaryObserver(new CanaryEchoes(nc, "royalty")),
    ],
  };
  const workers = streams.map((stream) =>
    new StreamWorker(stream, nc, options, metrics, health.rounds(stream), log)
  );
  const running = Promise.all([
    ...workers.map((worker) => worker.run(signal)),
    watchLag(nc, { metrics, health: health.rounds("lag"), log }, signal),
  ]);
  running.catch(service.fail);
  service.onStop("workers", async () => void (await running));
}

function workerOptions(settings: RoyaltyProcess["settings"]): Omit<WorkerOptions, "observers"> {
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
    now,
  };
}

if (import.meta.main) await runService("royalty", royaltySettings, start, royaltyRule);
