/**
 * Connections to NATS with the options that production wants.
 *
 * @module
 */
import { connect, type NatsConnection } from "nats";
import type { Settings } from "./config.ts";
import type { natsSettings } from "./config.ts";
import { messageOf, RetryAfter } from "./errors.ts";
import type { Log } from "./log.ts";

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
    if (status.type === "disconnect" || status.type === "reconnect") {
      log.warn(`nats ${status.type}`, { server: status.server });
    } else if (status.type === "error") {
      log.warn("nats error", { error: messageOf(status.error) });
    }
  }
}
