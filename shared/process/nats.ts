/**
 * Connections to NATS, with options for production.
 *
 * @module
 */
import {
  ClosedConnectionError,
  connect,
  type NatsConnection,
  NoRespondersError,
  RequestError,
  TimeoutError,
} from "nats";
import { JetStreamApiError, JetStreamError } from "nats/jetstream";
import type { Settings } from "./config.ts";
import type { natsSettings } from "./config.ts";
import { messageOf, RetryAfter, Stop } from "./errors.ts";
import type { HealthPart } from "./health.ts";
import type { Log } from "./log.ts";
import { NodeChoice } from "./node/node_choice.ts";
import { NodeWatch } from "./node/node_watch.ts";
import { pause, untilReady } from "./retry.ts";
import type { Service, ServiceSettings } from "./service.ts";

/** The roles in `shared/nats/accounts.conf`, with one NATS user each. */
export const ROLES = [
  "ingest",
  "live",
  "royalty",
  "auditor",
  "triage",
  "pager",
  "oncall",
  "ops",
] as const;
/** One of {@link ROLES}. */
export type Role = typeof ROLES[number];

/** The prefix of all inboxes of `role`; its user may subscribe to no other inboxes. */
export function inboxPrefix(role: string): string {
  return `_INBOX_${role}`;
}

/** Whether `error` of the client says that a stream or durable does not exist. */
export function isNotFound(error: unknown): boolean {
  if (error instanceof JetStreamApiError && error.code === 404) return true;
  // For a missing stream or consumer the client throws errors of its own classes.
  return error instanceof Error && /not found/.test(error.message);
}

/** The message of an error of NATS, in words that cannot be taken for those of playback. */
export function natsMessageOf(error: unknown): string {
  const message = messageOf(error);
  if (error instanceof TimeoutError) return "NATS does not answer";
  return message.replace(/^(idle )?heartbeats missed$/, "consumer idle heartbeats missed");
}

const NATS_FAILURES = [
  ...[TimeoutError, NoRespondersError, RequestError, ClosedConnectionError, JetStreamError],
];

/** `error`, as a {@link RetryAfter} when the client of NATS threw it: a failure that may pass. */
export function natsFailure(error: unknown, retryAfterMs: number): unknown {
  if (!NATS_FAILURES.some((kind) => error instanceof kind)) return error;
  return new RetryAfter(natsMessageOf(error), retryAfterMs, { cause: error });
}

/** Why a durable cannot be opened; says how to create it only when it does not exist. */
export function durableProblem(stream: string, durable: string, error: unknown): string {
  const remedy = isNotFound(error) ? " (created by deno task provision)" : "";
  return `durable ${stream}/${durable}: ${natsMessageOf(error)}${remedy}`;
}

/** Errors of a socket whose other end has gone. */
const GONE: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE", "ECONNABORTED"]);

// The client no longer listens to a socket that it has given up, as after a refused password. When the
// server then resets it, the error reaches nobody, and would end the process.
globalThis.addEventListener("error", (event) => {
  const { code, syscall } = (event.error ?? {}) as { code?: unknown; syscall?: unknown };
  if (GONE.has(code) && (syscall === "read" || syscall === "write")) event.preventDefault();
});

/** A connection, and how it leaves its server for another one. */
interface Opened {
  readonly nc: NatsConnection;
  readonly leave: () => Promise<void>;
}

/**
 * Connects as `settings.TWOFOLD_NATS_USER`. The connection reconnects without limit and logs each
 * change of its state. Rejects with {@link RetryAfter} while no server answers.
 */
export async function connectNats(
  settings: Settings<typeof natsSettings>,
  log: Log,
): Promise<NatsConnection> {
  return (await open(settings, log)).nc;
}

/**
 * As {@link connectNats}; a server that stores nothing is left for another one, see {@link NodeWatch}.
 * For what has no service to do that: a thread of one, or a command that may take long. `name` is that
 * of the connection, after `twofold-`.
 */
export async function connectWatched(
  settings: Settings<typeof natsSettings>,
  log: Log,
  name = log.service,
): Promise<NatsConnection> {
  const { nc, leave } = await open(settings, log, name);
  const servers = settings.TWOFOLD_NATS_URL.split(",").length;
  const closed = new AbortController();
  void nc.closed().then(() => closed.abort());
  const watch = new NodeWatch({ nc, user: settings.TWOFOLD_NATS_USER, servers, leave, log });
  void watch.run(closed.signal);
  return nc;
}

async function open(
  settings: Settings<typeof natsSettings>,
  log: Log,
  name = log.service,
): Promise<Opened> {
  const user = settings.TWOFOLD_NATS_USER;
  const ca = settings.TWOFOLD_NATS_CA;
  const choice = new NodeChoice(() => performance.now());
  let nc: NatsConnection;
  try {
    nc = await connect({
      servers: settings.TWOFOLD_NATS_URL.split(","),
      user,
      pass: settings.TWOFOLD_NATS_PASSWORD,
      name: `twofold-${name}`,
      inboxPrefix: inboxPrefix(user),
      // As text, so that the process needs no permission to read a file.
      ...(ca ? { tls: { ca } } : {}),
      reconnectToServer: choice.next,
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
  void followStatus(nc, log);
  const leave = async () => {
    choice.leave(nc.getServer());
    await nc.reconnect();
  };
  return { nc, leave };
}

/** What of the client's inside it takes to close its socket. */
interface Inside {
  readonly protocol?: { readonly transport?: { readonly socket?: { destroy?(): void } } };
}

// Before the client gives up a socket, it waits until an empty write is done: over TLS that is never,
// so neither a link that is half-open nor `reconnect` would end the connection.
function destroySocket(nc: NatsConnection): void {
  (nc as Inside).protocol?.transport?.socket?.destroy?.();
}

async function followStatus(nc: NatsConnection, log: Log): Promise<void> {
  for await (const status of nc.status()) {
    const { type } = status;
    if (type === "staleConnection" || type === "forceReconnect") destroySocket(nc);
    if (type === "disconnect") log.warn("nats.disconnected", { server: status.server });
    else if (type === "reconnect") log.warn("nats.reconnected", { server: status.server });
    else if (type === "error") log.warn("nats.error", { error: status.error });
  }
}

/** Maximum time that a stop waits for NATS; a server that hangs answers nothing. */
const MAX_CLOSE_MS = 500;

/** Closes `nc` with `close`, or at once when the server does not answer it in time. */
async function closeWithin(
  nc: NatsConnection,
  close: (nc: NatsConnection) => Promise<void>,
): Promise<void> {
  const closed = new AbortController();
  const closing = close(nc).finally(() => closed.abort());
  await Promise.race([closing, pause(MAX_CLOSE_MS, closed.signal)]);
  if (!closed.signal.aborted) void nc.close();
}

/**
 * Connects a service: waits until NATS answers, without limit. The service is not ready until then
 * and while the connection is lost. A server that stores nothing is left for another one; see
 * {@link NodeWatch}. The stop of the service closes the connection with `close`; if
 * it is closed for another reason, the process exits. Rejects once the service stops. A service with
 * several connections gives each a `name`.
 */
export async function connectService<S extends ServiceSettings & typeof natsSettings>(
  service: Service<S>,
  close: (nc: NatsConnection) => Promise<void> = (nc) => nc.close(),
  name = "nats",
): Promise<NatsConnection> {
  const settings: Settings<typeof natsSettings> = service.settings;
  const part = service.health.part(name, "NATS has not answered yet");
  const { signal, log } = service;
  const { nc, leave } = await untilReady(signal, log, () => open(settings, log), part);
  void reportStatus(nc, part);
  const servers = settings.TWOFOLD_NATS_URL.split(",").length;
  const watch = new NodeWatch({ nc, user: settings.TWOFOLD_NATS_USER, servers, leave, log });
  void watch.run(signal);
  if (name === "nats") {
    service.metrics.gaugeOf(
      "twofold_nats_probe_seconds",
      "Time until NATS stored a probe, or since it stored none",
      () => watch.roundTripMs / 1_000,
    );
  }
  service.onStop(name, () => closeWithin(nc, close));
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
