/**
 * The HTTP face every service has: `/healthz`, `/readyz`, `/metrics`.
 *
 * @module
 */
import { Hono } from "hono";
import type { Metrics } from "./metrics.ts";

/** What the status routes show. */
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
  app.get("/metrics", async (c) => {
    c.header("content-type", metrics.contentType);
    return c.body(await metrics.render());
  });
  return app;
}
