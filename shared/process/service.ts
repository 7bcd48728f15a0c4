/**
 * The one shape of a service: settings → listen → connect → run → drain.
 *
 * ```ts
 * if (import.meta.main) {
 *   await runService("live", liveSettings, async (service) => {
 *     service.listen();                              // /healthz answers from here on
 *     const nc = await connectNats(service);         // waits for ever, says so in /readyz
 *     …                                              // run; register what a stop has to finish
 *   });
 * }
 * ```
 *
 * SIGTERM or SIGINT: `/readyz` answers 503 at once and `signal` is aborted, so that loops take up
 * nothing new; requests are served for `TWOFOLD_DRAIN_MS`; then the stop steps run, the last one
 * registered first, within {@link STOP_DEADLINE_MS}. A second signal ends the drain time. A failure
 * has no drain time.
 *
 * @module
 */
import type { z } from "zod";
import project from "../../deno.json" with { type: "json" };
import { environment, type processSettings, readSettings, type Settings } from "./config.ts";
import { Stop } from "./errors.ts";
import { Health } from "./health.ts";
import { Log } from "./log.ts";
import { addProcessMetrics, Metrics } from "./metrics.ts";
import { pause } from "./retry.ts";
import { statusApp } from "./status.ts";

/** Longest that the stop steps may take before the process ends anyway, in ms. */
export const STOP_DEADLINE_MS = 10_000;

/** The settings that a service declares, {@link processSettings} and its port among them. */
export type ServiceSettings = typeof processSettings & {
  readonly TWOFOLD_HTTP_PORT: z.ZodType<number>;
};

/** An app that a service serves; every Hono is one. */
export interface App {
  readonly fetch: (request: Request) => Response | Promise<Response>;
}

/** Where a server listens. */
export interface Address {
  readonly hostname: string;
  readonly port: number;
}

/** What the start of a service is given. */
export interface Service<S extends ServiceSettings = ServiceSettings> {
  readonly settings: Settings<S>;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly health: Health;
  /** Aborted when the process should stop. */
  readonly signal: AbortSignal;
  /** Serves `app`, or only the status routes, on the service's own port. */
  listen(app?: App): void;
  /** Serves `app` elsewhere as well. At the stop, responses under way get `stopMs` to finish. */
  listenAt(address: Address, app: App, stopMs?: number): void;
  /** Runs `step` at the stop; the last one registered runs first. */
  onStop(name: string, step: () => void | Promise<void>): void;
  /** Begins the stop because of `reason`; the process exits with status 1. */
  fail(reason: unknown): void;
}

type Step = { readonly name: string; readonly run: () => void | Promise<void> };

/** Longest that a stop waits for the responses of one server. */
const SERVER_STOP_MS = 5_000;
const READINESS_EVERY_MS = 1_000;

/**
 * Runs a service until SIGTERM, SIGINT or a failure, then stops it and exits: 0 after a signal, 1
 * (or the code of a {@link Stop}) after a failure. Wrong settings are a failure.
 */
export async function runService<S extends ServiceSettings>(
  name: string,
  shape: S,
  start: (service: Service<S>) => Promise<void>,
): Promise<never> {
  const process = new ProcessRunner(new Log(name));
  process.followSignals();
  // Not awaited: a signal must end a start that hangs, too.
  (async () => {
    const settings = readSettings(shape, environment());
    await start(process.service(settings));
  })().catch(process.fail);
  return await process.run();
}

/** What runs around a service: signals, servers, steps, and the end of the process. */
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

  /** The face of this process that a service sees. */
  service<S extends ServiceSettings>(settings: Settings<S>): Service<S> {
    const { TWOFOLD_LOG_LEVEL, TWOFOLD_DRAIN_MS, TWOFOLD_HTTP_HOST: hostname, TWOFOLD_HTTP_PORT } =
      settings;
    const log = this.#log = new Log(this.#log.service, TWOFOLD_LOG_LEVEL);
    this.#drainMs = TWOFOLD_DRAIN_MS;
    const health = this.#health;
    const metrics = new Metrics();
    addProcessMetrics(metrics, { service: log.service, version: project.version });
    this.#reportReadiness();
    return {
      settings,
      log,
      metrics,
      health,
      signal: this.#abort.signal,
      listen: (app = statusApp({ metrics, notReady: () => health.notReady })) =>
        this.#serve({ hostname, port: TWOFOLD_HTTP_PORT }, app, SERVER_STOP_MS),
      listenAt: (address, app, stopMs = SERVER_STOP_MS) => this.#serve(address, app, stopMs),
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

  /** Follows signals and rejections that nobody awaits. */
  followSignals(): void {
    for (const name of ["SIGINT", "SIGTERM"] as const) {
      Deno.addSignalListener(name, () => {
        if (this.#abort.signal.aborted) this.#drained.abort();
        else this.#abort.abort(name);
      });
    }
    // A rejection nobody awaits is a bug; a crash that is restarted beats a process half alive.
    globalThis.addEventListener("unhandledrejection", (event) => {
      event.preventDefault();
      this.fail(event.reason);
    });
  }

  /** Resolves never: the process ends here, once it has stopped. */
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
    // Requests under way still need what the steps end.
    await Promise.all(this.#servers.map((server) => this.#runStep(server)));
    for (const step of this.#steps.reverse()) await this.#runStep(step);
    clearTimeout(deadline);
  }

  async #runStep({ name, run }: Step): Promise<void> {
    try {
      await run();
    } catch (error) {
      this.#log.warn("service.stop_step_failed", { step: name, error });
    }
  }

  #serve(address: Address, app: App, stopMs: number): void {
    const onListen = ({ hostname, port }: Deno.NetAddr) =>
      this.#log.info("service.listening", { hostname, port });
    const server = Deno.serve({ ...address, onListen }, (request) => app.fetch(request));
    const run = async () => {
      // A slow reader must not keep the rest from stopping.
      const stopped = new AbortController();
      const done = server.shutdown().finally(() => stopped.abort());
      await Promise.race([done, pause(stopMs, stopped.signal)]);
    };
    this.#servers.push({ name: `server on port ${address.port}`, run });
  }

  // Whoever reads only the log learns of it, too.
  #reportReadiness(): void {
    let wasReady: boolean | undefined;
    const timer = setInterval(() => {
      const reason = this.#health.notReady;
      const isReady = reason === undefined;
      if (isReady === wasReady) return;
      wasReady = isReady;
      if (isReady) this.#log.info("service.ready");
      else this.#log.warn("service.not_ready", { reason });
    }, READINESS_EVERY_MS);
    Deno.unrefTimer(timer);
  }
}
