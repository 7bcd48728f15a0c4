/**
 * The royalty service: counts exact minutes, closes days, serves statements.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { CanaryEchoes } from "../shared/contract/canary/canary_echoes.ts";
import { sendPulses } from "../shared/contract/pulses.ts";
import type { ComparedClocks } from "../shared/process/clock/clocks.ts";
import { connectService } from "../shared/process/nats.ts";
import { untilReady } from "../shared/process/retry.ts";
import { runService, type Service } from "../shared/process/service.ts";
import { booksClocks } from "./books/clocks.ts";
import { connectBooks, openBooks } from "./books/connection.ts";
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
  const clocks = await openClocks(service, nc);
  await startKeyPartitions(service, clocks);
  startClosing(service);
  startWorkers(service, nc, clocks);
  startCopies(service, nc, () => clocks.sharedMs());
  await startFinance(service, () => clocks.sharedMs());
}

async function openClocks(service: RoyaltyProcess, nc: NatsConnection): Promise<ComparedClocks> {
  const { settings } = service;
  const sql = connectBooks(settings.TWOFOLD_POSTGRES_URL);
  service.onStop("clocks", () => sql.end({ timeout: 2 }));
  const clocks = await booksClocks(sql, nc, countedStreams(settings), Date.now);
  await clocks.compare();
  clocks.watch(service);
  return clocks;
}

function startWorkers(service: RoyaltyProcess, nc: NatsConnection, clocks: ComparedClocks): void {
  const { settings, health, log, signal } = service;
  const streams = countedStreams(settings);
  const metrics = new PostingMetrics(service.metrics, streams);
  sendPulses(service, nc, () => metrics.achieved, clocks);
  const options: WorkerOptions = {
    ...workerOptions(settings, clocks),
    observers: [
      startDriftMonitor(service, nc, () => clocks.sharedMs()),
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

function workerOptions(
  settings: RoyaltyProcess["settings"],
  clocks: ComparedClocks,
): Omit<WorkerOptions, "observers"> {
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
    now: () => clocks.sharedMs(),
    clocks,
  };
}

if (import.meta.main) await runService("royalty", royaltySettings, start, royaltyRule);
