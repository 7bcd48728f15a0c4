/**
 * The pager: delivers pages, and notices silence.
 *
 * @module
 */
import { connectService } from "../../shared/process/nats.ts";
import { runService, type Service } from "../../shared/process/service.ts";
import { environment } from "../../shared/process/config.ts";
import { Board } from "./board/board.ts";
import { boardApp } from "./board/board_app.ts";
import { pagerRule, pagerSettings } from "./settings.ts";
import { startPager } from "./pager.ts";

async function start(service: Service<typeof pagerSettings>): Promise<void> {
  const { metrics, health, settings } = service;
  const board = new Board(Date.now);
  const status = { metrics, notReady: () => health.notReady };
  service.listen(boardApp(status, board, settings.TWOFOLD_PAGER_HOSTS));
  const nc = await connectService(service);
  await startPager(service, nc, { secrets: environment(), nowMs: Date.now, board });
}

if (import.meta.main) await runService("pager", pagerSettings, start, pagerRule(environment()));
