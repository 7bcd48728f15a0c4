/**
 * HTTP servers whose connections are bounded in number and in time.
 *
 * `Deno.serve` has no limit of either: sockets that send nothing stay open until the process has no
 * file descriptors, and then it ends. So this accepts the connections itself and has Deno serve each
 * one; `README.md` of `shared` says what the limits are, `CONTRIBUTING.md` why it is done so.
 *
 * @module
 */
import type { processSettings, Settings } from "../config.ts";
import type { Health } from "../health.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { pause } from "../retry.ts";
import { forwardedClient, networkOf } from "./addresses.ts";
import { CLOSE_REASONS, Connection, ConnectionTable } from "./connections.ts";

/** Where a request comes from. */
export interface RequestOrigin {
  /** The client's address, or its block in version 6; undefined when a proxy does not say it. */
  readonly address: string | undefined;
}

/** An HTTP app, such as a Hono. */
export interface App {
  readonly fetch: (request: Request, origin: RequestOrigin) => Response | Promise<Response>;
}

/** What the servers of a process stand on. */
export interface HttpSurroundings {
  readonly settings: Settings<typeof processSettings>;
  readonly log: Log;
  readonly health: Health;
  readonly metrics: Metrics;
}

/** A server that listens. */
export interface HttpServer {
  readonly address: Deno.NetAddr;
  /** Stops listening; resolves once the requests in progress are answered. */
  shutdown(): Promise<void>;
}

/** The part of Deno that serves one connection; its own tests use it, its types do not name it. */
type ServeConnection = (
  socket: Deno.TcpConn,
  signal: Pick<AbortSignal, "addEventListener">,
  handler: (request: Request, info: Deno.ServeHandlerInfo) => Response | Promise<Response>,
  onError: (error: unknown) => Response,
  onListen: () => void,
) => { readonly finished: Promise<void>; shutdown(): Promise<void> };

/** Connections that the system keeps until they are accepted; its own limit may be lower. */
const BACKLOG = 4_096;
/** Interval between two looks for connections that have exceeded a limit, in ms. */
const SWEEP_INTERVAL_MS = 250;
/** Pause of accepting after a failure to accept, in ms. */
const ACCEPT_PAUSE_MS = 100;
/** How long the process is not ready after it had no file descriptor, in ms. */
const EXHAUSTED_MS = 5_000;
/** How long fewer connections are admitted after that, in ms. */
const SHRUNK_MS = 60_000;
/** Minimum time between two lines about refused connections, in ms. */
const REFUSED_LOG_MS = 60_000;
/** Minimum time between two lines about failed requests, in ms. */
const FAILURE_LOG_MS = 10_000;

/** The HTTP servers of a process. */
export class HttpServers {
  readonly #servers: BoundedServer[] = [];

  constructor(readonly surroundings: HttpSurroundings) {
    const { metrics, health } = surroundings;
    const label = (server: BoundedServer) => ({ port: String(server.address.port) });
    metrics.gaugeOf(
      "twofold_http_connections",
      "Open connections",
      () => this.#servers.map((server) => [label(server), server.connections.open] as const),
      ["port"],
    );
    metrics.counterOf(
      "twofold_http_connections_ended_total",
      "Connections that the server refused or ended, by the limit they exceeded",
      () =>
        this.#servers.flatMap((server) =>
          CLOSE_REASONS.map((reason) =>
            [{ ...label(server), reason }, server.connections.closedFor(reason)] as const
          )
        ),
      ["port", "reason"],
    );
    health.check(() => this.#servers.map((server) => server.notReady()).find(Boolean));
  }

  /** Starts a server. Throws when the address cannot be used. */
  listen(
    { hostname, port, isShared = false }: {
      readonly hostname: string;
      readonly port: number;
      readonly isShared?: boolean;
    },
    app: App,
  ): HttpServer {
    const server = new BoundedServer(
      Deno.listen({ hostname, port, reusePort: isShared, tcpBacklog: BACKLOG }),
      app,
      this.surroundings,
    );
    this.#servers.push(server);
    return server;
  }
}

class BoundedServer implements HttpServer {
  readonly address: Deno.NetAddr;
  readonly connections: ConnectionTable;
  readonly #inProgress = new Map<string, number>();
  readonly #handles = new Set<ReturnType<ServeConnection>>();
  readonly #serve = connectionServer();
  readonly #timer: ReturnType<typeof setInterval>;
  /** The last good host, which is nearly always the next one, and how addresses begin with it. */
  #goodHost = "";
  #goodPrefix = "http://none/";
  #isStopping = false;
  #exhaustedMs = -Infinity;
  #isShrunk = false;
  #refused = 0;
  #refusedLogMs = -Infinity;
  /** Since the last line about them. */
  #failures = 0;
  #failureLogMs = -Infinity;

  constructor(
    readonly listener: Deno.TcpListener,
    readonly app: App,
    readonly surroundings: HttpSurroundings,
  ) {
    this.address = listener.addr;
    const { settings } = surroundings;
    this.connections = new ConnectionTable({
      maxConnections: settings.TWOFOLD_HTTP_MAX_CONNECTIONS,
      maxPerAddress: settings.TWOFOLD_HTTP_MAX_PER_ADDRESS,
      headerMs: settings.TWOFOLD_HTTP_HEADER_MS,
      requestMs: settings.TWOFOLD_HTTP_REQUEST_MS,
      idleMs: settings.TWOFOLD_HTTP_IDLE_MS,
    });
    this.#timer = setInterval(() => this.#sweep(), SWEEP_INTERVAL_MS);
    Deno.unrefTimer(this.#timer);
    void this.#accept();
  }

  /** Why the process is not ready, as far as connections are concerned. */
  notReady(): string | undefined {
    if (performance.now() - this.#exhaustedMs > EXHAUSTED_MS) return undefined;
    return `no file descriptors left, ${this.connections.open} connections are open`;
  }

  async shutdown(): Promise<void> {
    this.#isStopping = true;
    this.listener.close();
    await Promise.allSettled([...this.#handles].map((handle) => handle.shutdown()));
    clearInterval(this.#timer);
  }

  async #accept(): Promise<void> {
    while (!this.#isStopping) {
      try {
        this.#admit(await this.listener.accept());
      } catch (error) {
        if (this.#isStopping) return;
        this.#acceptFailed(error);
        await pause(ACCEPT_PAUSE_MS, new AbortController().signal);
      }
    }
  }

  #admit(socket: Deno.TcpConn): void {
    const { hostname } = socket.remoteAddr as Deno.NetAddr;
    const { TWOFOLD_TRUSTED_PROXIES: proxies } = this.surroundings.settings;
    const isProxied = proxies?.has(hostname) === true;
    const end = new EndOfConnection(socket);
    const close = () => end.now();
    const connection = new Connection(isProxied ? undefined : networkOf(hostname), close);
    if (!this.connections.admit(connection, performance.now())) return;
    socket.setNoDelay(true);
    const handle = this.#serve(
      socket,
      end,
      (request, info) => this.#answer(request, info, connection),
      (error) => this.#failed(error),
      () => {},
    );
    this.#handles.add(handle);
    const ended = () => {
      this.#handles.delete(handle);
      this.connections.remove(connection);
    };
    handle.finished.then(ended, ended);
  }

  async #answer(
    request: Request,
    info: Deno.ServeHandlerInfo,
    connection: Connection,
  ): Promise<Response> {
    this.connections.begins(connection, performance.now());
    const client = connection.address === undefined ? this.#clientOf(request) : undefined;
    const origin = client === undefined ? connection : { address: client };
    let status = 500;
    const ended = () => {
      this.connections.ends(connection, status, performance.now());
      if (client !== undefined) this.#release(client);
    };
    // The answer to a POST is small: it ends when it is made. To be told its end costs 2 µs.
    const isPost = request.method === "POST";
    if (!isPost) info.completed.then(ended, ended);
    try {
      const response = this.#refusal(request, client) ?? await this.app.fetch(request, origin);
      status = response.status;
      return response;
    } finally {
      if (isPost) ended();
    }
  }

  #refusal(request: Request, client: string | undefined): Response | undefined {
    const isTaken = client === undefined || this.#take(client);
    if (this.#hasBadHost(request)) return refusal(400, "The Host header is not a host and a port.");
    if (!this.#hasUrl(request)) return refusal(400, "The request line has no valid address.");
    if (!isTaken) return refusal(429, "There are too many requests in progress from your address.");
  }

  // Without the header it is HTTP/1.0, or HTTP/2, where the host is a part of the address.
  #hasBadHost(request: Request): boolean {
    const host = request.headers.get("host");
    if (host === null || host === this.#goodHost) return false;
    if (!isHost(host)) return true;
    this.#goodHost = host;
    this.#goodPrefix = `http://${host}/`;
    return false;
  }

  // Only a client that writes a whole address into the request line can have a wrong one.
  #hasUrl({ url }: Request): boolean {
    return url.startsWith(this.#goodPrefix) || URL.canParse(url);
  }

  #clientOf(request: Request): string | undefined {
    const { TWOFOLD_PROXY_HEADER: name, TWOFOLD_TRUSTED_PROXIES: proxies } =
      this.surroundings.settings;
    return proxies && forwardedClient(request.headers.get(name), proxies);
  }

  // Counts a request even when it is too many: its response ends, too.
  #take(client: string): boolean {
    const count = (this.#inProgress.get(client) ?? 0) + 1;
    this.#inProgress.set(client, count);
    const max = this.connections.limits.maxPerAddress;
    return max === 0 || count <= max;
  }

  #release(client: string): void {
    const left = (this.#inProgress.get(client) ?? 1) - 1;
    if (left > 0) this.#inProgress.set(client, left);
    else this.#inProgress.delete(client);
  }

  // A client may be able to make it happen, so it is not logged each time; and what it says may have
  // the address of the request in it, with a key.
  #failed(error: unknown): Response {
    this.#failures++;
    const nowMs = performance.now();
    if (nowMs - this.#failureLogMs >= FAILURE_LOG_MS) {
      const text = error instanceof Error ? error.stack ?? error.message : String(error);
      const said = text.replace(/\?[^\s'"]*/g, "?…");
      this.surroundings.log.error("service.request_failed", {
        error: said,
        failures: this.#failures,
      });
      this.#failures = 0;
      this.#failureLogMs = nowMs;
    }
    return refusal(500, "The request failed.");
  }

  // Accepting goes on whatever happens: without a listener nothing tells what is wrong.
  #acceptFailed(error: unknown): void {
    const { log } = this.surroundings;
    const { code } = error as { code?: string };
    if (code !== "EMFILE" && code !== "ENFILE") {
      log.warn("service.accept_failed", { error });
      return;
    }
    const open = this.connections.open;
    this.#exhaustedMs = performance.now();
    this.connections.shrink();
    if (!this.#isShrunk) log.error("service.descriptors_exhausted", { connections: open });
    this.#isShrunk = true;
  }

  #sweep(): void {
    const nowMs = performance.now();
    this.connections.sweep(nowMs);
    if (this.#isShrunk && nowMs - this.#exhaustedMs > SHRUNK_MS) {
      this.#isShrunk = false;
      this.connections.restore();
      this.surroundings.log.info("service.descriptors_restored");
    }
    const refused = this.connections.closedFor("crowded") + this.connections.closedFor("address");
    if (refused === this.#refused || nowMs - this.#refusedLogMs < REFUSED_LOG_MS) return;
    this.surroundings.log.warn("service.connections_refused", {
      port: this.address.port,
      refused: refused - this.#refused,
      open: this.connections.open,
    });
    this.#refused = refused;
    this.#refusedLogMs = nowMs;
  }
}

/**
 * Ends a connection, at any time. To Deno it is the signal of an `AbortController`. A real one would
 * end the process: Deno throws in its listener when the connection has just ended by itself.
 */
class EndOfConnection {
  #end: () => void;

  constructor(socket: Deno.TcpConn) {
    this.#end = () => socket.close();
  }
  /** Deno takes the socket over, and is told to end it. */
  addEventListener(_type: string, listener: unknown): void {
    this.#end = listener as () => void;
  }
  now(): void {
    try {
      this.#end();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }
}

/** Finds what serves one connection. Throws when this Deno does not have it. */
function connectionServer(): ServeConnection {
  const { internal } = Deno as unknown as { internal: symbol };
  const internals = Reflect.get(Deno, internal) as Record<string, unknown> | undefined;
  const serve = internals?.serveHttpOnConnection;
  if (typeof serve === "function") return serve as ServeConnection;
  throw new Error(`Deno ${Deno.version.deno} cannot serve single connections; use Deno 2.9`);
}

/**
 * A host name or address, in brackets for version 6, and perhaps a port; or nothing, as RFC 9110, section
 * 7.2, has it of an address without a host.
 */
const HOST = /^(\[[\da-f:.]+\]|[\w.~-]*)(?::(\d{1,5}))?$/i;
const MAX_PORT = 65_535;

function isHost(text: string): boolean {
  const [, , port = "0"] = HOST.exec(text) ?? [];
  return HOST.test(text) && Number(port) <= MAX_PORT;
}

function refusal(status: number, detail: string): Response {
  const headers = { "content-type": "application/problem+json" };
  return new Response(JSON.stringify({ type: "about:blank", status, detail }), { status, headers });
}
