/**
 * Runs a service: settings → listen → connect → run → drain.
 *
 * ```ts
 * if (import.meta.main) {
 *   await runService("live", liveSettings, async (service) => {
 *     service.listen();                           // /healthz answers 200 from here on
 *     const nc = await connectService(service);   // waits for NATS; /readyz answers 503
 *     …                                           // run; register the steps of the stop
 *   });
 * }
 * ```
 *
 * After SIGTERM or SIGINT, `/readyz` answers 503 at once and `signal` is aborted, so that loops
 * start no new work. Requests are served for `TWOFOLD_DRAIN_MS`; then the stop steps run in reverse
 * order of registration, within {@link STOP_DEADLINE_MS}; a step that hangs is left for the next one.
 * A second signal ends the drain time.
 * After a failure there is no drain time.
 *
 * @module
 */
import type { z } from "zod";
import project from "../../deno.json" with { type: "json" };
import { command } from "./cli/command.ts";
import type { Command } from "./cli/declaration.ts";
import { main } from "./cli/run.ts";
import {
  environment,
  type processSettings,
  readSettings,
  type Settings,
  type SettingsRule,
} from "./config.ts";
import { messageOf, Stop } from "./errors.ts";
import { Health } from "./health.ts";
import { type App, type HttpServer, HttpServers } from "./http/server.ts";
import { Log } from "./log.ts";
import { addProcessMetrics, Metrics } from "./metrics.ts";
import { pause } from "./retry.ts";
import { statusApp } from "./status.ts";

/** Maximum time of the stop before the process exits anyway, in ms. */
export const STOP_DEADLINE_MS = 10_000;
/** Time of the stop after which it no longer waits for the step in progress, in ms. */
const STEPS_DEADLINE_MS = 8_000;
/** Time that every later step has all the same, in ms. */
const MIN_STEP_MS = 200;

/** The settings of a service: {@link processSettings}, its port, and its own settings. */
export type ServiceSettings = typeof processSettings & {
  readonly TWOFOLD_HTTP_PORT: z.ZodType<number>;
};

/** The address that a server listens on. */
export interface Address {
  readonly hostname: string;
  readonly port: number;
  /** The setting that has the port, for messages. */
  readonly portSetting: string;
  /** Whether other processes may listen on it: the system spreads connections over them. */
  readonly isShared?: boolean;
}

/** What the start function of a service receives. */
export interface Service<S extends ServiceSettings = ServiceSettings> {
  readonly settings: Settings<S>;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly health: Health;
  /** Aborted when the service should stop. */
  readonly signal: AbortSignal;
  /** Serves `app`, by default the status routes, on the service's own port. */
  listen(app?: App): void;
  /** Serves `app` on another address. During the stop, responses have `maxStopMs` to finish. */
  listenAt(address: Address, app: App, maxStopMs?: number): void;
  /** Registers a step of the stop; steps run in reverse order of registration. */
  onStop(name: string, step: () => void | Promise<void>): void;
  /**
   * Starts the stop because of `reason`; the process exits with 1, or the code of a {@link Stop}.
   */
  fail(reason: unknown): void;
}

type Step = { readonly name: string; readonly run: () => void | Promise<void> };

/** Maximum time that the stop waits for the responses of one server. */
const MAX_SERVER_STOP_MS = 5_000;
/** Interval between two checks of readiness for the log. */
const READINESS_INTERVAL_MS = 1_000;

/**
 * Runs the task `serve:<name>`: a service, until SIGTERM, SIGINT or a failure. Then stops it and
 * exits: with 0 after a signal, with 1 or the code of a {@link Stop} after a failure. Invalid
 * settings are a failure, with exit code 2. A service takes no arguments but `--help`: any other
 * argument ends the process with 2 before anything is read.
 */
export async function runService<S extends ServiceSettings>(
  name: string,
  shape: S,
  start: (service: Service<S>) => Promise<void>,
  rule?: SettingsRule<S>,
): Promise<never> {
  return await main(serveTask(name, () => serve(name, shape, start, rule)));
}

/**
 * The task `serve:<name>` that calls `run`, described by its entry in `deno.json`, whose command
 * runs the main module of the service beside its README.
 */
export function serveTask(name: string, run: () => Promise<never>): Command {
  const tasks: Readonly<
    Record<string, { readonly description: string; readonly command: string }>
  > = project.tasks;
  const task = tasks[`serve:${name}`];
  const folder = task?.command.match(/(\S+)\/main\.ts$/)?.[1] ?? name;
  return command({
    name: `serve:${name}`,
    summary: task?.description.split(";")[0]?.toLowerCase() ?? `run ${name}`,
    details: "Runs until SIGTERM or SIGINT. Its settings are environment variables; " +
      `${folder}/README.md lists them with their defaults.`,
    examples: [{ args: [] }],
    run,
  });
}

async function serve<S extends ServiceSettings>(
  name: string,
  shape: S,
  start: (service: Service<S>) => Promise<void>,
  rule?: SettingsRule<S>,
): Promise<never> {
  const process = new ProcessRunner(new Log(name));
  process.handleSignals();
  // Not awaited, so that a signal also stops a start that hangs.
  (async () => {
    const settings = readSettings(shape, environment(), rule);
    refuseTracing();
    const service = process.service(settings);
    service.health.starts();
    await start(service);
    service.health.started();
  })().catch(process.fail);
  return await process.run();
}

/**
 * Throws a {@link Stop} when Deno's tracing is on: its spans have whole URLs, and with them the keys
 * of beacons and the secrets of webhooks.
 */
function refuseTracing(): void {
  try {
    // Throws without tracing. The variables of Deno itself may not be read.
    Deno.telemetry.tracerProvider.getTracer("twofold").startSpan("start").end();
  } catch {
    return;
  }
  throw new Stop("OTEL_DENO is set, and its traces would have keys in them; unset it", {
    exitCode: 2,
  });
}

/** Handles the signals, the servers, the stop and the exit of a service. */
class ProcessRunner {
  readonly #abort = new AbortController();
  readonly #drained = new AbortController();
  readonly #health = new Health();
  readonly #servers: Step[] = [];
  readonly #steps: Step[] = [];
  #log: Log;
  #drainMs = 0;
  #exitCode = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Creates the {@link Service} of this process. */
  service<S extends ServiceSettings>(settings: Settings<S>): Service<S> {
    const { TWOFOLD_LOG_LEVEL, TWOFOLD_DRAIN_MS, TWOFOLD_HTTP_HOST: hostname, TWOFOLD_HTTP_PORT } =
      settings;
    const log = this.#log = new Log(this.#log.service, TWOFOLD_LOG_LEVEL);
    this.#drainMs = TWOFOLD_DRAIN_MS;
    const health = this.#health;
    const metrics = new Metrics();
    addProcessMetrics(metrics, { service: log.service, version: project.version });
    this.#logReadiness();
    const servers = new HttpServers({ settings, log, health, metrics });
    return {
      settings,
      log,
      metrics,
      health,
      signal: this.#abort.signal,
      listen: (app = statusApp({ metrics, notReady: () => health.notReady })) =>
        this.#serve(
          servers,
          { hostname, port: TWOFOLD_HTTP_PORT, portSetting: "TWOFOLD_HTTP_PORT" },
          app,
          MAX_SERVER_STOP_MS,
        ),
      listenAt: (address, app, maxStopMs = MAX_SERVER_STOP_MS) =>
        this.#serve(servers, address, app, maxStopMs),
      onStop: (name, run) => void this.#steps.push({ name, run }),
      fail: this.fail,
    };
  }

  readonly fail = (reason: unknown): void => {
    if (this.#abort.signal.aborted) return;
    this.#exitCode = reason instanceof Stop ? reason.exitCode : 1;
    this.#log.error("service.failed", { error: reason });
    this.#drained.abort();
    this.#abort.abort(reason);
  };

  /** Handles signals and unhandled rejections. */
  handleSignals(): void {
    for (const name of ["SIGINT", "SIGTERM"] as const) {
      Deno.addSignalListener(name, () => {
        if (this.#abort.signal.aborted) this.#drained.abort();
        else this.#abort.abort(name);
      });
    }
    // An unhandled rejection is a bug: exit and be restarted rather than run in an unknown state.
    globalThis.addEventListener("unhandledrejection", (event) => {
      event.preventDefault();
      this.fail(event.reason);
    });
  }

  /** Waits for the stop, performs it and exits; never resolves. */
  async run(): Promise<never> {
    await new Promise<void>((resolve) =>
      this.#abort.signal.addEventListener("abort", () => resolve(), { once: true })
    );
    this.#health.stops();
    if (!this.#drained.signal.aborted && this.#drainMs > 0) {
      this.#log.info("service.draining", { drain_ms: this.#drainMs });
      await pause(this.#drainMs, this.#drained.signal);
    }
    await this.#stop();
    this.#log.info("service.stopped", { exit_code: this.#exitCode });
    Deno.exit(this.#exitCode);
  }

  async #stop(): Promise<void> {
    const deadline = setTimeout(() => {
      this.#log.error("service.stop_deadline", { deadline_ms: STOP_DEADLINE_MS });
      Deno.exit(1);
    }, STOP_DEADLINE_MS);
    const endMs = performance.now() + STEPS_DEADLINE_MS;
    // Servers first: requests in progress still use what the steps close.
    await Promise.all(this.#servers.map((server) => this.#runStep(server, endMs)));
    for (const step of this.#steps.reverse()) await this.#runStep(step, endMs);
    clearTimeout(deadline);
  }

  async #runStep({ name: step, run }: Step, endMs: number): Promise<void> {
    const maxMs = Math.max(MIN_STEP_MS, Math.round(endMs - performance.now()));
    const finished = new AbortController();
    const running = (async () => {
      try {
        await run();
      } catch (error) {
        this.#log.warn("service.stop_step_failed", { step, error });
      }
      finished.abort();
    })();
    await Promise.race([running, pause(maxMs, finished.signal)]);
    if (finished.signal.aborted) return;
    const error = `not finished after ${maxMs} ms, and left`;
    this.#log.warn("service.stop_step_failed", { step, error });
  }

  #serve(servers: HttpServers, address: Address, app: App, maxStopMs: number): void {
    const server = listening(servers, address, app);
    const { hostname, port } = server.address;
    this.#log.info("service.listening", { hostname, port });
    const run = async () => {
      // A slow client must not delay the stop beyond the limit.
      const stopped = new AbortController();
      const done = server.shutdown().finally(() => stopped.abort());
      await Promise.race([done, pause(maxStopMs, stopped.signal)]);
    };
    this.#servers.push({ name: `server on port ${address.port}`, run });
  }

  #logReadiness(): void {
    let wasReady: boolean | undefined;
    const timer = setInterval(() => {
      const reason = this.#health.notReady;
      const isReady = reason === undefined;
      if (isReady === wasReady) return;
      wasReady = isReady;
      if (isReady) this.#log.info("service.ready");
      else this.#log.warn("service.not_ready", { reason });
    }, READINESS_INTERVAL_MS);
    Deno.unrefTimer(timer);
  }
}

/** Starts a server; throws a {@link Stop} when the address cannot be used. */
function listening(servers: HttpServers, address: Address, app: App): HttpServer {
  try {
    return servers.listen(address, app);
  } catch (error) {
    const { hostname, port, portSetting } = address;
    const settings = `TWOFOLD_HTTP_HOST and ${portSetting}`;
    throw new Stop(
      `cannot listen on ${hostname}, port ${port} (${settings}): ${messageOf(error)}`,
      { cause: error },
    );
  }
}
