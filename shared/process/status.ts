/**
 * The HTTP routes that every service has: `/healthz`, `/readyz`, `/metrics`.
 *
 * @module
 */
import { Hono } from "hono";
import type { Metrics } from "./metrics.ts";

/** Dependencies of {@link statusApp}. */
export interface StatusOptions {
  readonly metrics: Metrics;
  /** Why the service is not ready, or undefined when it is. */
  readonly notReady: () => string | undefined;
}

/** An app with the routes of {@link healthApp} and metrics (`/metrics`: Prometheus text format). */
export function statusApp({ metrics, notReady }: StatusOptions): Hono {
  const app = healthApp(notReady);
  app.get("/metrics", async (c) => {
    c.header("content-type", metrics.contentType);
    return c.body(await metrics.render());
  });
  return app;
}

/**
 * An app with liveness (`/healthz`: always 200) and readiness (`/readyz`: 200, or 503 with the
 * reason): what a load balancer asks on a public port.
 */
export function healthApp(notReady: StatusOptions["notReady"]): Hono {
  const app = new Hono();
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.get("/readyz", (c) => {
    const reason = notReady();
    return reason === undefined
      ? c.json({ status: "ready" })
      : c.json({ status: "not ready", reason }, 503);
  });
  return app;
}
