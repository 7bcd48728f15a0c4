/**
 * Connections to NATS with the options that production wants.
 *
 * @module
 */
import { connect, type NatsConnection } from "nats";
import type { Settings } from "./config.ts";
import type { natsSettings } from "./config.ts";
import { messageOf, RetryAfter, Stop } from "./errors.ts";
import type { HealthPart } from "./health.ts";
import type { Log } from "./log.ts";
import { untilReady } from "./retry.ts";
import type { Service, ServiceSettings } from "./service.ts";

/** The roles of the accounts file, one NATS user each. */
export const ROLES = [
  "ingest",
  "live",
  "royalty",
  "auditor",
  "triage",
  "oncall",
  "ops",
] as const;
export type Role = typeof ROLES[number];

/** The prefix of every inbox of `role`; its user may subscribe below it and nowhere else. */
export function inboxPrefix(role: string): string {
  return `_INBOX_${role}`;
}

/**
 * Connects as `settings.TWOFOLD_NATS_USER`, reconnects for ever, and reports each change of state
 * to the log. Rejects with {@link RetryAfter} while no server answers.
 */
export async function connectNats(
  settings: Settings<typeof natsSettings>,
  log: Log,
): Promise<NatsConnection> {
  const user = settings.TWOFOLD_NATS_USER;
  const ca = settings.TWOFOLD_NATS_CA;
  let nc: NatsConnection;
  try {
    nc = await connect({
      servers: settings.TWOFOLD_NATS_URL.split(","),
      user,
      pass: settings.TWOFOLD_NATS_PASSWORD,
      name: `twofold-${log.service}`,
      inboxPrefix: inboxPrefix(user),
      // The text, not a file: the process needs no right to read one.
      ...(ca ? { tls: { ca } } : {}),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      reconnectJitter: 100,
      pingInterval: 5_000,
      maxPingOut: 2,
      timeout: 5_000,
      // Saves an Error object per request; stack traces of requests are not worth it.
      noAsyncTraces: true,
    });
  } catch (error) {
    const where = settings.TWOFOLD_NATS_URL;
    throw new RetryAfter(`NATS at ${where} as ${user}: ${messageOf(error)}`, 1_000, {
      cause: error,
    });
  }
  void reportStatus(nc, log);
  return nc;
}

async function reportStatus(nc: NatsConnection, log: Log): Promise<void> {
  for await (const status of nc.status()) {
    const { type } = status;
    if (type === "disconnect") log.warn("nats.disconnected", { server: status.server });
    else if (type === "reconnect") log.warn("nats.reconnected", { server: status.server });
    else if (type === "error") log.warn("nats.error", { error: status.error });
  }
}

/**
 * The connection of a service: waits until NATS answers, for ever if need be, and says meanwhile and
 * whenever it is lost that the service is not ready. The stop closes it, with `close`; when it is
 * closed for another reason, the process ends. Rejects once the service stops.
 */
export async function connectService<S extends ServiceSettings & typeof natsSettings>(
  service: Service<S>,
  close: (nc: NatsConnection) => Promise<void> = (nc) => nc.close(),
): Promise<NatsConnection> {
  const settings: Settings<typeof natsSettings> = service.settings;
  const part = service.health.part("nats", "NATS has not answered yet");
  const { signal, log } = service;
  const nc = await untilReady(signal, log, () => connectNats(settings, log), part);
  void followStatus(nc, part);
  service.onStop("nats", () => close(nc));
  void nc.closed().then((error) =>
    service.fail(error ?? new Stop("the NATS connection was closed"))
  );
  return nc;
}

async function followStatus(nc: NatsConnection, part: HealthPart): Promise<void> {
  for await (const { type } of nc.status()) {
    if (type === "disconnect") part.fails("NATS is disconnected");
    else if (type === "reconnect") part.works();
  }
}
