/**
 * The HTTP face every service has: `/healthz`, `/readyz`, `/metrics`.
 *
 * @module
 */
import { Hono } from "hono";
import type { Lifecycle } from "./lifecycle.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";

export interface StatusOptions {
  readonly metrics: Metrics;
  /** Why the service cannot do its work right now, or undefined when it can. */
  readonly notReady: () => string | undefined;
}

/** Answers liveness (the process runs), readiness (it can work) and Prometheus scrapes. */
export function statusApp({ metrics, notReady }: StatusOptions): Hono {
  const app = new Hono();
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.get("/readyz", (c) => {
    const reason = notReady();
    return reason === undefined
      ? c.json({ status: "ready" })
      : c.json({ status: "not ready", reason }, 503);
  });
  app.get("/metrics", (c) => {
    c.header("content-type", "text/plain; version=0.0.4; charset=utf-8");
    return c.body(metrics.render());
  });
  return app;
}

/** Serves `app` until the process stops; requests under way are finished first. */
export function serveHttp(
  life: Lifecycle,
  log: Log,
  address: { readonly hostname: string; readonly port: number },
  app: Pick<Hono, "fetch">,
): Deno.HttpServer<Deno.NetAddr> {
  const onListen = ({ hostname, port }: Deno.NetAddr) => log.info("listening", { hostname, port });
  const server = Deno.serve({ ...address, onListen }, (request, info) => app.fetch(request, info));
  life.onStop("http", () => server.shutdown());
  return server;
}
