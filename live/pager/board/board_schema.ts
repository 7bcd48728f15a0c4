/**
 * The read API of the pager: what is open, and the state of the pipeline; and its OpenAPI document.
 *
 * Pure. Times are ms since the epoch, ages are ms, shares 0 to 1.
 *
 * @module
 */
import { serveOpenApi } from "../../../shared/process/http/openapi_document.ts";
import { type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Env } from "hono";
import { alertCellSchema, suppressionSchema } from "../../../shared/contract/alert.ts";

/** Maximum incidents in an answer. */
export const MAX_LISTED = 1_000;

const time = z.int().describe("ms since the epoch");
const age = z.number().min(0).describe("ms");
const share = z.number().min(0).max(1);
const count = z.int().min(0);
const viewers = { watching: count, impaired: count, share, baseline: share };

const figuresSchema = z.object({
  signal: z.enum(["rebuffer", "start", "silent"]),
  cell: alertCellSchema,
  ratio: share.nullable().describe("rebuffer ratio of the last 60 s; null: nobody played"),
  ...viewers,
  bound: z.number().min(0).describe("impaired viewers that open an incident"),
  at: time.describe("when these figures were made"),
  is_current: z.boolean().describe("whether live says so now; else they are of the last alert"),
  peak: z.object(viewers).describe("the worst so far"),
  onset_at: time,
  detected_ms: age,
  folded: count,
  coverage: share,
}).describe("of live's incidents");

const incidentSchema = z.object({
  incident_id: z.string(),
  subject: z.string(),
  kind: z.enum(["incident", "quarantine", "pipeline"]),
  severity: z.enum(["critical", "page", "warning", "ticket", "info"]),
  pages: z.boolean().describe("whether on-call is paged about it"),
  paged_at: time.optional(),
  opened_at: time,
  summary: z.string(),
  suppressed_by: suppressionSchema.optional(),
  last: z.object({
    at: time,
    status: z.enum(["open", "update"]),
    why: z.enum(["doubled", "halved", "dimension", "folded", "severity"]).optional(),
  }).describe("what happened last"),
  figures: figuresSchema.optional(),
  dimensions: z.array(z.object({ cell: alertCellSchema, ...viewers }))
    .describe("the worst cells that it explains, worst first"),
  next: z.array(z.string()).describe("commands to run next"),
  series: z.array(z.tuple([time, share, share]))
    .describe("time, share and baseline of at most the last 15 minutes, oldest first"),
  deliveries: z.record(z.string(), z.enum(["delivered", "refused", "given_up", "waiting"]))
    .nullable()
    .describe("what became of the page, by receiver; null: only the pager that delivers knows"),
}).openapi("OpenIncident");

/** Schema of the response to `GET /v1/incidents`. */
export const incidentListSchema = z.object({
  v: z.literal(1),
  at: time.describe("when it was made"),
  read_age_ms: age.nullable()
    .describe("since ALERTS was last read; null: never. An old list says nothing about now"),
  open: count.describe("open incidents; more than are listed if there are more than 1,000"),
  incidents: z.array(incidentSchema).max(MAX_LISTED)
    .describe("what pages first, then by severity, then the newest first"),
}).openapi("OpenIncidents");

const serviceSchema = z.object({
  service: z.string(),
  state: z.enum(["well", "not_ready", "stalled", "silent", "unheard"])
    .describe("unheard: no pulse since this pager began to listen, or it cannot listen now"),
  pulse_age_ms: age.nullable(),
  idle_ms: age.nullable()
    .describe("since something was achieved, or nothing waited; null: no pulse yet"),
  instances: z.array(z.object({
    instance: z.string(),
    pulse_age_ms: age,
    progress: z.number().describe("what it has achieved; it changes with each achievement"),
    waiting: z.number().nullable().describe("what waits; null: it does not know"),
    not_ready: z.string().optional().describe("why /readyz answers 503"),
  })).max(32).describe("at most 32"),
});

/** Schema of the response to `GET /v1/state`. */
export const pipelineStateSchema = z.object({
  v: z.literal(1),
  at: time.describe("when it was made"),
  read_age_ms: age.nullable().describe("since ALERTS was last read; null: never"),
  problem: z.string().optional().describe("why ALERTS is not read"),
  pager: z.object({
    instance: z.string(),
    delivers: z.boolean().describe("whether this pager delivers"),
    is_delivered: z.boolean().describe("whether some pager delivers, as far as this one knows"),
    deliverer: z.string().describe("the pager that was last known to deliver"),
    receivers: z.array(z.object({ receiver: z.string(), waiting: count.nullable() }))
      .describe("messages that wait; null: only the pager that delivers knows"),
  }).nullable().describe("null: it has not started yet"),
  live: z.object({
    instance: z.string(),
    view_age_ms: age,
    coverage: share,
    lag_ms: age.nullable(),
    streams: z.array(z.object({ stream: z.string(), lag_ms: age.nullable() })),
  }).nullable().describe("what live said last; null: nothing yet"),
  services: z.array(serviceSchema),
}).openapi("PipelineState");

/** One open incident. */
export type BoardIncident = z.infer<typeof incidentSchema>;
/** See {@link incidentListSchema}. */
export type IncidentList = z.infer<typeof incidentListSchema>;
/** See {@link pipelineStateSchema}. */
export type PipelineState = z.infer<typeof pipelineStateSchema>;

/** Adds the OpenAPI document of the read API to `app`, at `/openapi.json`. */
export function describeBoardApi<E extends Env>(app: OpenAPIHono<E>): void {
  const answer = (description: string, schema: z.ZodType) => ({
    responses: { 200: { description, content: { "application/json": { schema } } } },
  });
  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/v1/incidents",
    operationId: "listIncidents",
    summary: "What is open now",
    ...answer("What is open", incidentListSchema),
  });
  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/v1/state",
    operationId: "readState",
    summary: "The state of the pipeline: pulses, lags, coverage, who delivers",
    ...answer("The state", pipelineStateSchema),
  });
  serveOpenApi(app, {
    openapi: "3.1.0",
    info: {
      title: "Twofold pager",
      version: "1",
      description:
        "What is open now. It answers 200 without NATS too; `read_age_ms` says how old " +
        "the answer is.",
    },
    servers: [{ url: "/" }],
  });
}
