/**
 * The pager: delivers pages, and notices silence.
 *
 * @module
 */
import { ALERTS } from "../../shared/contract/topology.ts";
import { type ComparedClocks, streamClocks } from "../../shared/process/clock/clocks.ts";
import { connectService } from "../../shared/process/nats.ts";
import { runService, type Service } from "../../shared/process/service.ts";
import { environment } from "../../shared/process/config.ts";
import { Board } from "./board/board.ts";
import { boardApp } from "./board/board_app.ts";
import { pagerRule, pagerSettings } from "./settings.ts";
import { startPager } from "./pager.ts";

async function start(service: Service<typeof pagerSettings>): Promise<void> {
  const { metrics, health, settings } = service;
  const outside: { clocks?: ComparedClocks } = {};
  const board = new Board(() => outside.clocks?.sharedMs() ?? Date.now());
  const status = { metrics, notReady: () => health.notReady };
  service.listen(boardApp(status, board, settings.TWOFOLD_PAGER_HOSTS));
  const nc = await connectService(service);
  const clocks = outside.clocks = await streamClocks(nc, [ALERTS], Date.now);
  // Known before anything may be too old.
  await clocks.compare();
  await startPager(service, nc, { secrets: environment(), clocks, board });
}

if (import.meta.main) await runService("pager", pagerSettings, start, pagerRule(environment()));
