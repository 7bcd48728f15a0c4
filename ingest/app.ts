/**
 * The HTTP face of the edge: `POST /v1/heartbeats` and its description.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { cors } from "hono/cors";
import { messageOf, RetryAfter } from "../shared/errors.ts";
import { MAX_EVENT_BYTES } from "../shared/event.ts";
import type { Log } from "../shared/log.ts";
import type { Metrics } from "../shared/metrics.ts";
import { statusApp } from "../shared/status.ts";
import { admit, type RoutedEvent } from "./admit.ts";
import { ByteBudget, gunzip, Holding, readBody } from "./body.ts";
import { FleetKeys, FleetLimits } from "./fleets.ts";
import { describeApi } from "./openapi.ts";
import { Problem } from "./problem.ts";
import type { Framing } from "./split.ts";

export interface IngestOptions {
  readonly fleetKeys: ReadonlyMap<string, string>;
  readonly fleetEventsPerSecond: number;
  readonly corsOrigins: readonly string[];
  readonly partitions: number;
  readonly maxEventsPerBody: number;
  readonly bodyDeadlineMs: number;
  readonly maxInFlightBytes: number;
}

export interface IngestDependencies {
  /** Resolves once every event is durable; rejects with {@link RetryAfter}. */
  readonly publish: (events: readonly RoutedEvent[]) => Promise<void>;
  readonly eventsInFlight: () => number;
  readonly notReady: () => string | undefined;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly nowMs: () => number;
}

const FRAMINGS: Readonly<Record<string, Framing>> = {
  "application/json": "json",
  "application/x-ndjson": "ndjson",
  "text/plain": "sniff",
};

/** The app; needs no socket, so tests call its `fetch`. */
export function ingestApp(options: IngestOptions, needs: IngestDependencies): OpenAPIHono {
  const { metrics, log } = needs;
  const requests = metrics.counter("twofold_ingest_requests_total", "Heartbeat requests by status");
  const app = new OpenAPIHono();
  const accept = acceptor(options, needs);
  app.use(
    "/v1/*",
    cors({
      origin: options.corsOrigins.includes("*") ? "*" : [...options.corsOrigins],
      allowMethods: ["POST"],
      allowHeaders: ["Authorization", "Content-Type", "Content-Encoding"],
      exposeHeaders: ["Retry-After"],
      maxAge: 86_400,
    }),
  );
  app.post("/v1/heartbeats", async (c) => {
    try {
      const accepted = await accept(c.req.raw);
      requests.add(1, { status: "202" });
      return c.json({ accepted }, 202);
    } catch (error) {
      const problem = toProblem(error);
      if (problem.problem === "internal") log.error("internal", { error: messageOf(error) });
      requests.add(1, { status: String(problem.status) });
      return problem.toResponse();
    }
  });
  app.all("/v1/heartbeats", () => {
    const problem = new Problem("method-not-allowed", "Send heartbeats with POST.");
    return problem.toResponse();
  });
  app.route("/", statusApp(needs));
  describeApi(app);
  app.notFound(() => new Problem("not-found", "Send heartbeats to /v1/heartbeats.").toResponse());
  return app;
}

function acceptor(options: IngestOptions, needs: IngestDependencies) {
  const keys = new FleetKeys(options.fleetKeys);
  const burst = Math.max(options.fleetEventsPerSecond, options.maxEventsPerBody);
  const limits = new FleetLimits(options.fleetEventsPerSecond, burst);
  const budget = new ByteBudget(options.maxInFlightBytes);
  const events = needs.metrics.counter("twofold_ingest_events_total", "Events by outcome");
  const inFlight = needs.metrics.gauge("twofold_ingest_in_flight_events", "Events not yet acked");
  const heldBytes = needs.metrics.gauge("twofold_ingest_held_bytes", "Bytes of requests under way");
  const seconds = needs.metrics.histogram(
    "twofold_ingest_publish_seconds",
    "From an admitted request to the acknowledgement of all its events",
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  );

  /** The number of events accepted: all of them are durable. Throws a problem or RetryAfter. */
  return async function accept(request: Request): Promise<number> {
    const fleet = authenticate(request, keys);
    const framing = framingOf(request);
    const isGzip = isGzipped(request);
    const holding = new Holding(budget);
    try {
      const sent = await readBody(request, holding, options.bodyDeadlineMs);
      const body = isGzip ? gunzip(sent, holding) : sent;
      const admitted = admitOrRefuse(body, framing, options);
      const waitMs = limits.take(fleet, admitted.length, needs.nowMs());
      if (waitMs > 0) throw fleetTooFast(waitMs);
      const startMs = needs.nowMs();
      try {
        await needs.publish(admitted);
      } catch (error) {
        events.add(admitted.length, { outcome: "refused" });
        throw error;
      }
      seconds.observe((needs.nowMs() - startMs) / 1000);
      events.add(admitted.length, { outcome: "accepted" });
      return admitted.length;
    } finally {
      holding.release();
      inFlight.set(needs.eventsInFlight());
      heldBytes.set(budget.held);
    }
  };
}

// A beacon cannot set headers, so the key may come in the query.
function authenticate(request: Request, keys: FleetKeys): string {
  const bearer = request.headers.get("authorization")?.match(/^Bearer +(\S+)$/i)?.[1];
  const key = bearer ?? new URL(request.url).searchParams.get("key");
  const fleet = key ? keys.fleetOf(key) : undefined;
  if (fleet !== undefined) return fleet;
  throw new Problem(
    "unknown-key",
    "Send the fleet's key as `Authorization: Bearer <key>`, or as `?key=` with a beacon.",
  );
}

function framingOf(request: Request): Framing {
  const type = request.headers.get("content-type")?.split(";")[0].trim().toLowerCase() ?? "";
  if (Object.hasOwn(FRAMINGS, type)) return FRAMINGS[type];
  const detail = `Send one of ${Object.keys(FRAMINGS).join(", ")}.`;
  throw new Problem("unsupported-content-type", detail);
}

function isGzipped(request: Request): boolean {
  const encoding = request.headers.get("content-encoding")?.trim().toLowerCase() ?? "identity";
  if (encoding === "gzip" || encoding === "x-gzip") return true;
  if (encoding === "identity" || encoding === "") return false;
  throw new Problem("unsupported-encoding", "Send the body plain or with Content-Encoding: gzip.");
}

function admitOrRefuse(
  body: Uint8Array,
  framing: Framing,
  options: IngestOptions,
): readonly RoutedEvent[] {
  const maxEvents = options.maxEventsPerBody;
  const admission = admit(body, framing, { partitions: options.partitions, maxEvents });
  switch (admission.kind) {
    case "admitted":
      return admission.events;
    case "no_events":
      throw new Problem(
        "no-events",
        "Send a heartbeat as a JSON object, several as a JSON array or one a line (NDJSON).",
      );
    case "too_many_events":
      throw new Problem(
        "too-many-events",
        `A request holds at most ${maxEvents} events; nothing was stored. Send several requests.`,
      );
    case "event_too_large":
      throw new Problem(
        "event-too-large",
        `Event ${admission.index} has ${admission.bytes} bytes, at most ${MAX_EVENT_BYTES} may be; ` +
          "nothing was stored. Send the others without it.",
        { eventIndex: admission.index },
      );
  }
}

function fleetTooFast(retryAfterMs: number): Problem {
  const detail = "The fleet is over its rate; nothing was stored. Send the same bytes again later.";
  return new Problem("fleet-limit", detail, { retryAfterMs });
}

function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof RetryAfter) {
    const detail =
      `${error.message}. Some events may be stored; send all of them again, the same ` +
      "bytes: copies are told apart and count once.";
    return new Problem("not-stored", detail, { retryAfterMs: error.retryAfterMs });
  }
  const detail = "Send the same bytes again later.";
  return new Problem("internal", detail, { retryAfterMs: 5_000 });
}
