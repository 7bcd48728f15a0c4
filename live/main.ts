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
  const heartbeats = await connectService(service);
  const control = await connectService(service, (nc) => nc.drain(), "nats-control");
  await startLive(service, { heartbeats, control }, Date.now);
  starting.works();
}

if (import.meta.main) await runService("live", liveSettings, start);
