/**
 * The live service: reads heartbeats, detects rebuffering, alerts on-call.
 *
 * @module
 */
import { Stop } from "../shared/process/errors.ts";
import { connectService } from "../shared/process/nats.ts";
import { runService, type Service } from "../shared/process/service.ts";
import { startLive } from "./service.ts";
import { liveSettings } from "./settings.ts";

async function start(service: Service<typeof liveSettings>): Promise<void> {
  const { TWOFOLD_LIVE_RESOLVE_RATIO, TWOFOLD_LIVE_OPEN_RATIO } = service.settings;
  if (TWOFOLD_LIVE_RESOLVE_RATIO >= TWOFOLD_LIVE_OPEN_RATIO) {
    throw new Stop("TWOFOLD_LIVE_RESOLVE_RATIO must be below TWOFOLD_LIVE_OPEN_RATIO");
  }
  service.listen();
  const starting = service.health.part("start", "live is starting");
  const nc = await connectService(service, (connection) => connection.drain());
  await startLive(service, nc, Date.now);
  starting.works();
}

if (import.meta.main) await runService("live", liveSettings, start);
