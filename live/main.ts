/**
 * The live service: reads heartbeats, detects rebuffering, alerts on-call.
 *
 * @module
 */
import { connectService } from "../shared/process/nats.ts";
import { runService, type Service } from "../shared/process/service.ts";
import { startLive } from "./service.ts";
import { liveSettings } from "./settings.ts";

async function start(service: Service<typeof liveSettings>): Promise<void> {
  service.listen();
  const starting = service.health.part("start", "live is starting");
  const nc = await connectService(service, (connection) => connection.drain());
  await startLive(service, nc, Date.now);
  starting.works();
}

if (import.meta.main) await runService("live", liveSettings, start);
