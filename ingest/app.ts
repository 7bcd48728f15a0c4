/**
 * The HTTP face of the edge: `POST /v1/heartbeats`, its description, and the status pages.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { cors } from "hono/cors";
import { messageOf, RetryAfter } from "../shared/process/errors.ts";
import type { Log } from "../shared/process/log.ts";
import { statusApp } from "../shared/process/status.ts";
import { type AcceptNeeds, type AcceptOptions, Acceptor } from "./accept.ts";
import { describeApi } from "./openapi.ts";
import { Problem } from "./problem.ts";

export interface IngestOptions extends AcceptOptions {
  /** Origins of browser players; `*` is any. */
  readonly corsOrigins: readonly string[];
}

export interface IngestNeeds extends AcceptNeeds {
  readonly eventsInFlight: () => number;
  /** Why events cannot be stored right now, or undefined. */
  readonly notReady: () => string | undefined;
  readonly log: Log;
}

const PATH = "/v1/heartbeats";

/** The app; needs no socket, so tests call its `fetch`. */
export function ingestApp(options: IngestOptions, needs: IngestNeeds): OpenAPIHono {
  const app = new OpenAPIHono();
  const acceptor = new Acceptor(options, needs);
  const requests = needs.metrics.counter("twofold_ingest_requests_total", "Requests by status");
  const readable = crossOriginHeaders(options.corsOrigins);
  app.options(PATH, preflight(options.corsOrigins));
  app.post(PATH, async (c) => {
    const headers = readable(c.req.raw);
    try {
      const accepted = await acceptor.accept(c.req.raw);
      requests.add(1, { status: "202" });
      return Response.json({ accepted }, { status: 202, headers });
    } catch (error) {
      const problem = toProblem(error, needs.log);
      requests.add(1, { status: String(problem.status) });
      return problem.toResponse(headers);
    }
  });
  app.all(PATH, () => {
    const problem = new Problem("method-not-allowed", "Send heartbeats with POST.");
    return problem.toResponse({ allow: "POST" });
  });
  addGauges(app, acceptor, needs);
  app.route("/", statusApp(needs));
  describeApi(app);
  app.notFound(() => new Problem("not-found", `Send heartbeats to ${PATH}.`).toResponse());
  return app;
}

function preflight(origins: readonly string[]) {
  return cors({
    origin: origins.includes("*") ? "*" : [...origins],
    allowMethods: ["POST"],
    allowHeaders: ["Authorization", "Content-Type", "Content-Encoding"],
    maxAge: 86_400,
  });
}

// The middleware would build every answer twice, about a tenth of the CPU of a small request.
function crossOriginHeaders(origins: readonly string[]) {
  const expose = { "access-control-expose-headers": "Retry-After" };
  if (origins.includes("*")) return () => ({ ...expose, "access-control-allow-origin": "*" });
  return (request: Request): Record<string, string> => {
    const origin = request.headers.get("origin");
    if (origin === null || !origins.includes(origin)) return { vary: "Origin" };
    return { ...expose, vary: "Origin", "access-control-allow-origin": origin };
  };
}

// Gauges are read when they are asked for.
function addGauges(app: OpenAPIHono, acceptor: Acceptor, needs: IngestNeeds): void {
  const { metrics } = needs;
  const events = metrics.gauge("twofold_ingest_in_flight_events", "Events not yet acknowledged");
  const bytes = metrics.gauge("twofold_ingest_held_bytes", "Bytes of the requests under way");
  app.use("/metrics", async (_, next) => {
    events.set(needs.eventsInFlight());
    bytes.set(acceptor.heldBytes);
    await next();
  });
}

function toProblem(error: unknown, log: Log): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof RetryAfter) {
    const detail =
      `${error.message}. Some events may be stored; send all of them again, the same ` +
      "bytes: copies are told apart and count once.";
    return new Problem("not-stored", detail, { retryAfterMs: error.retryAfterMs });
  }
  log.error("a request failed", { error: messageOf(error) });
  return new Problem("internal", "Send the same bytes again later.", { retryAfterMs: 5_000 });
}
