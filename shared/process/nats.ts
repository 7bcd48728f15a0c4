/**
 * Connections to NATS, with options for production.
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

/** The roles in `shared/nats/accounts.conf`, with one NATS user each. */
export const ROLES = [
  "ingest",
  "live",
  "royalty",
  "auditor",
  "triage",
  "oncall",
  "ops",
] as const;
/** One of {@link ROLES}. */
export type Role = typeof ROLES[number];

/** The prefix of all inboxes of `role`; its user may subscribe to no other inboxes. */
export function inboxPrefix(role: string): string {
  return `_INBOX_${role}`;
}

/**
 * Connects as `settings.TWOFOLD_NATS_USER`. The connection reconnects without limit and logs each
 * change of its state. Rejects with {@link RetryAfter} while no server answers.
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
      // As text, so that the process needs no permission to read a file.
      ...(ca ? { tls: { ca } } : {}),
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      reconnectJitter: 100,
      pingInterval: 5_000,
      maxPingOut: 2,
      timeout: 5_000,
      // Saves an Error object per request; the stack traces of requests are not needed.
      noAsyncTraces: true,
    });
  } catch (error) {
    const where = settings.TWOFOLD_NATS_URL;
    throw new RetryAfter(`NATS at ${where} as ${user}: ${messageOf(error)}`, 1_000, {
      cause: error,
    });
  }
  void logStatus(nc, log);
  return nc;
}

async function logStatus(nc: NatsConnection, log: Log): Promise<void> {
  for await (const status of nc.status()) {
    const { type } = status;
    if (type === "disconnect") log.warn("nats.disconnected", { server: status.server });
    else if (type === "reconnect") log.warn("nats.reconnected", { server: status.server });
    else if (type === "error") log.warn("nats.error", { error: status.error });
  }
}

/**
 * Connects a service: waits until NATS answers, without limit. The service is not ready until then
 * and while the connection is lost. The stop of the service closes the connection with `close`; if
 * it is closed for another reason, the process exits. Rejects once the service stops.
 */
export async function connectService<S extends ServiceSettings & typeof natsSettings>(
  service: Service<S>,
  close: (nc: NatsConnection) => Promise<void> = (nc) => nc.close(),
): Promise<NatsConnection> {
  const settings: Settings<typeof natsSettings> = service.settings;
  const part = service.health.part("nats", "NATS has not answered yet");
  const { signal, log } = service;
  const nc = await untilReady(signal, log, () => connectNats(settings, log), part);
  void reportStatus(nc, part);
  service.onStop("nats", () => close(nc));
  void nc.closed().then((error) =>
    service.fail(error ?? new Stop("the NATS connection was closed"))
  );
  return nc;
}

async function reportStatus(nc: NatsConnection, part: HealthPart): Promise<void> {
  for await (const { type } of nc.status()) {
    if (type === "disconnect") part.fails("NATS is disconnected");
    else if (type === "reconnect") part.works();
  }
}
