/**
 * Connects live's commands to NATS as operators do, by the settings of this process.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { type JetStreamManager, jetstreamManager } from "nats/jetstream";
import {
  localEnvironment,
  natsSettings,
  readSettings,
  type Settings,
  type SettingsShape,
} from "../../shared/process/config.ts";
import { isExpected, messageOf, Stop } from "../../shared/process/errors.ts";
import { Log } from "../../shared/process/log.ts";
import { connectNats } from "../../shared/process/nats.ts";

/** Runs `work` with JetStream; what is not expected becomes a {@link Stop} that says what to do. */
export async function withStreams<T>(work: (jsm: JetStreamManager) => Promise<T>): Promise<T> {
  return await withNats({}, async (nc) => {
    try {
      return await work(await jetstreamManager(nc, { checkAPI: false }));
    } catch (error) {
      if (isExpected(error)) throw error;
      throw new Stop(`NATS: ${messageOf(error)} (was deno task provision run?)`, { cause: error });
    }
  });
}

/**
 * Runs `work` with a connection to NATS and the settings of `shape` besides those of NATS; as `role`
 * where deno task up runs here.
 */
export async function withNats<S extends SettingsShape, T>(
  shape: S,
  work: (nc: NatsConnection, settings: Settings<S & typeof natsSettings>) => Promise<T>,
  role: "ops" | "oncall" = "ops",
): Promise<T> {
  const settings = readSettings({ ...natsSettings, ...shape }, localEnvironment(role));
  const nc = await connectNats(settings, new Log("live-cli", "error"));
  try {
    return await work(nc, settings);
  } finally {
    await nc.close();
  }
}
