/**
 * A service inside the process of a test: the same interface, without signals and process exit.
 *
 * @module
 */
import type { Settings } from "../../process/config.ts";
import { Health } from "../../process/health.ts";
import { Log } from "../../process/log.ts";
import { Metrics } from "../../process/metrics.ts";
import { type App, HttpServers } from "../../process/http/server.ts";
import type { Address, Service, ServiceSettings } from "../../process/service.ts";
import { statusApp } from "../../process/status.ts";

/** A service that the test stops. Its failures are collected. */
export class ServiceRig<S extends ServiceSettings> implements Service<S>, AsyncDisposable {
  readonly log = new Log("test", "error");
  readonly metrics = new Metrics();
  readonly health = new Health();
  readonly failures: unknown[] = [];
  readonly #abort = new AbortController();
  readonly #steps: (() => void | Promise<void>)[] = [];

  readonly #servers: HttpServers;

  constructor(readonly settings: Settings<S>) {
    this.#servers = new HttpServers(this);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  listen(app?: App): void {
    const { TWOFOLD_HTTP_HOST: hostname, TWOFOLD_HTTP_PORT: port } = this.settings;
    const { metrics, health } = this;
    this.listenAt(
      { hostname, port, portSetting: "TWOFOLD_HTTP_PORT" },
      app ?? statusApp({ metrics, notReady: () => health.notReady }),
    );
  }
  listenAt(address: Address, app: App): void {
    const server = this.#servers.listen(address, app);
    this.#steps.push(() => server.shutdown());
  }
  onStop(_name: string, step: () => void | Promise<void>): void {
    this.#steps.push(step);
  }
  readonly fail = (reason: unknown): void => void this.failures.push(reason);

  /** Runs the stop steps, the last one first. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort("the test is over");
    for (const step of this.#steps.splice(0).reverse()) await step();
  }
}
