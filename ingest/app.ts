/**
 * The HTTP face of the edge: `POST /v1/heartbeats`, its description, and the status pages.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { cors } from "hono/cors";
import type { Log } from "../shared/process/log.ts";
import { statusApp } from "../shared/process/status.ts";
import { type AcceptNeeds, type AcceptOptions, Acceptor } from "./accept.ts";
import { describeApi } from "./openapi.ts";
import { ingestProblems } from "./problem.ts";

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
  const requests = needs.metrics.counter(
    "twofold_ingest_requests_total",
    "Requests by status",
    ["status"],
  );
  const readable = crossOriginHeaders(options.corsOrigins);
  app.options(PATH, preflight(options.corsOrigins));
  app.post(PATH, async (c) => {
    const headers = readable(c.req.raw);
    try {
      const accepted = await acceptor.accept(c.req.raw);
      requests.inc({ status: "202" });
      return Response.json({ accepted }, { status: 202, headers });
    } catch (error) {
      const problem = ingestProblems.problemOf(error, needs.log);
      requests.inc({ status: String(problem.status) });
      return problem.toResponse(headers);
    }
  });
  app.all(PATH, () => {
    const headers = { allow: "POST" };
    return ingestProblems.problem("method-not-allowed", "Send heartbeats with POST.", { headers })
      .toResponse();
  });
  showInFlight(acceptor, needs);
  app.route("/", statusApp(needs));
  describeApi(app);
  app.notFound(() =>
    ingestProblems.problem("not-found", `Send heartbeats to ${PATH}.`).toResponse()
  );
  app.onError(ingestProblems.handler(needs.log));
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

function showInFlight(acceptor: Acceptor, { metrics, eventsInFlight }: IngestNeeds): void {
  metrics.gaugeOf("twofold_ingest_in_flight_events", "Events not yet acknowledged", eventsInFlight);
  metrics.gaugeOf(
    "twofold_ingest_held_bytes",
    "Bytes of the requests under way",
    () => acceptor.heldBytes,
  );
}
