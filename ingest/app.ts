/**
 * The HTTP routes of the edge: `POST /v1/heartbeats`, `/openapi.json`, and those that a load
 * balancer asks. Metrics are on another port.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { cors } from "hono/cors";
import type { RequestOrigin } from "../shared/process/http/server.ts";
import type { Log } from "../shared/process/log.ts";
import { healthApp } from "../shared/process/status.ts";
import { type AcceptDependencies, type AcceptOptions, Acceptor } from "./accept.ts";
import { describeApi } from "./openapi.ts";
import { ingestProblems } from "./problem.ts";

/** Options of {@link ingestApp}. */
export interface IngestOptions extends AcceptOptions {
  /** Origins of browser players; `*` allows any. */
  readonly corsOrigins: readonly string[];
}

/** Dependencies of {@link ingestApp}. */
export interface IngestDependencies extends AcceptDependencies {
  /** Number of events not yet acknowledged. */
  readonly eventsInFlight: () => number;
  /** The same of each fleet. */
  readonly eventsInFlightOf: () => Iterable<[fleet: string, events: number]>;
  /** Why events cannot be stored now, or undefined when they can. */
  readonly notReady: () => string | undefined;
  readonly log: Log;
}

const PATH = "/v1/heartbeats";

/** Creates the app. It needs no socket: tests call its `fetch`. */
export function ingestApp(
  options: IngestOptions,
  dependencies: IngestDependencies,
): OpenAPIHono {
  const app = new OpenAPIHono();
  const acceptor = new Acceptor(options, dependencies);
  const { metrics, log } = dependencies;
  const requests = metrics.counter(
    "twofold_ingest_requests_total",
    "Requests by HTTP status",
    ["status"],
  );
  const corsHeadersOf = crossOriginHeaders(options.corsOrigins);
  app.options(PATH, preflight(options.corsOrigins));
  app.post(PATH, async (c) => {
    const origin = c.env as RequestOrigin | undefined;
    const headers = corsHeadersOf(c.req.raw);
    try {
      const accepted = await acceptor.accept(c.req.raw, origin?.address);
      requests.inc({ status: "202" });
      return Response.json({ accepted }, { status: 202, headers });
    } catch (error) {
      const problem = ingestProblems.problemOf(error, log);
      requests.inc({ status: String(problem.status) });
      return problem.toResponse(headers);
    }
  });
  registerInFlightMetrics(acceptor, dependencies);
  app.route("/", healthApp(dependencies.notReady));
  describeApi(app);
  // No route of its own for other methods: with one handler for POST, Hono calls it at once.
  app.notFound(({ req }) => {
    if (req.path === PATH) return methodNotAllowed();
    return ingestProblems.problem("not-found", `Send heartbeats to ${PATH}.`).toResponse();
  });
  app.onError(ingestProblems.handler(log));
  return app;
}

function methodNotAllowed(): Response {
  const headers = { allow: "POST" };
  return ingestProblems.problem("method-not-allowed", "Send heartbeats with POST.", { headers })
    .toResponse();
}

function preflight(origins: readonly string[]) {
  return cors({
    origin: origins.includes("*") ? "*" : [...origins],
    allowMethods: ["POST"],
    allowHeaders: ["Authorization", "Content-Type", "Content-Encoding"],
    maxAge: 86_400,
  });
}

// Not by the CORS middleware: it builds every response twice, a tenth of the CPU of a small
// request. Only browsers have an origin.
function crossOriginHeaders(origins: readonly string[]) {
  const expose = { "access-control-expose-headers": "Retry-After" };
  const any = { ...expose, "access-control-allow-origin": "*" };
  const none = {};
  return (request: Request): Record<string, string> => {
    const origin = request.headers.get("origin");
    if (origins.includes("*")) return origin === null ? none : any;
    if (origin === null || !origins.includes(origin)) return { vary: "Origin" };
    return { ...expose, vary: "Origin", "access-control-allow-origin": origin };
  };
}

function registerInFlightMetrics(
  acceptor: Acceptor,
  { metrics, eventsInFlight, eventsInFlightOf }: IngestDependencies,
): void {
  metrics.gaugeOf(
    "twofold_ingest_fleet_in_flight_events",
    "Events of a fleet not yet acknowledged",
    () => [...eventsInFlightOf()].map(([fleet, events]) => [{ fleet }, events] as const),
    ["fleet"],
  );
  metrics.gaugeOf("twofold_ingest_in_flight_events", "Events not yet acknowledged", eventsInFlight);
  metrics.gaugeOf(
    "twofold_ingest_held_bytes",
    "Bytes held by requests in progress",
    () => acceptor.heldBytes,
  );
}
