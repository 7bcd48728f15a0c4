/**
 * The OpenAPI 3.1 document of the edge, served at `/openapi.json`.
 *
 * It only describes the route; requests are not validated against it. Events are stored as the
 * bytes received, and the consumers judge them.
 *
 * @module
 */
import { serveOpenApi } from "../shared/process/http/openapi_document.ts";
import { type OpenAPIHono, z } from "@hono/zod-openapi";
import { heartbeatSchema } from "../shared/contract/event.ts";
import { ingestProblems } from "./problem.ts";

const acceptedSchema = z.object({
  accepted: z.int().describe("number of events in this request, all of them durable"),
}).openapi("Accepted");

/** Registers the description of `POST /v1/heartbeats` and serves the document. */
export function describeApi(app: OpenAPIHono): void {
  const security = app.openAPIRegistry.registerComponent("securitySchemes", "fleetKey", {
    type: "http",
    scheme: "bearer",
  });
  const query = app.openAPIRegistry.registerComponent("securitySchemes", "fleetKeyInQuery", {
    type: "apiKey",
    in: "query",
    name: "key",
  });
  const heartbeat = app.openAPIRegistry.registerComponent("schemas", "Heartbeat", jsonSchema());
  const text = z.string().describe("Heartbeats as JSON, a JSON array, or NDJSON (one per line)");
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/v1/heartbeats",
    summary: "Store heartbeats",
    description: "Answers 202 once every event is durable. The bytes are stored unchanged; a " +
      "retry of the same bytes is deduplicated. Bodies may be gzip (Content-Encoding).",
    security: [{ [security.name]: [] }, { [query.name]: [] }],
    request: {
      body: {
        required: true,
        content: {
          "application/json": {
            schema: { oneOf: [heartbeat.ref, { type: "array", items: heartbeat.ref }] },
          },
          "application/x-ndjson": { schema: text },
          "text/plain": { schema: text },
        },
      },
    },
    responses: {
      202: {
        description: "Every event is durable",
        content: { "application/json": { schema: acceptedSchema } },
      },
      ...problemResponses(),
    },
  });
  serveOpenApi(app, {
    openapi: "3.1.0",
    info: { title: "Twofold ingest", version: "1" },
  });
}

// zod's own JSON Schema: the registry would put the flags of a regular expression into its pattern.
function jsonSchema() {
  const { $schema: _, ...schema } = z.toJSONSchema(heartbeatSchema, { io: "input" });
  // The two packages have different types for the same JSON.
  return JSON.parse(JSON.stringify(schema));
}

// Without the problems that only other paths and methods return.
function problemResponses() {
  return ingestProblems.responses(
    ingestProblems.names.filter((name) => name !== "not-found" && name !== "method-not-allowed"),
  );
}
