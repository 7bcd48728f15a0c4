/**
 * The payload of every message on `alerts.>`.
 *
 * Pure. Times are ms since the epoch, ratios and shares are 0 to 1. `asyncapi.ts` makes the
 * published documents from these schemas.
 *
 * @module
 */
import { z } from "zod";

/** Maximum length of a subject, in characters; a token is at most 768. */
const MAX_SUBJECT_CHARS = 2_048;
const count = z.int().min(0);
const time = z.int();
const share = z.number().min(0).max(1);

/** Why on-call is not paged: a silence or maintenance window that matches the subject. */
export const suppressionSchema = z.object({
  silence_id: z.string().min(1).max(64),
  subject: z.string().min(1).max(MAX_SUBJECT_CHARS).describe("subject pattern, NATS wildcards"),
  until: time.describe("when it ends"),
  by: z.string().min(1).max(400).describe("who answers for it"),
  reason: z.string().min(1).max(1_000),
}).describe("the silence or maintenance window that keeps this alert from paging");

const common = {
  incident_id: z.string().min(1).max(200)
    .describe("the same in every message of one incident; key your pager by it"),
  opened_at: time.describe("when the incident opened"),
  at: time.describe("when this message was made"),
  summary: z.string().min(1).max(1_000).describe("one line for the person who is paged"),
  suppressed_by: suppressionSchema.exactOptional(),
};

const ofOpenAndResolve = {
  v: z.literal(1),
  ...common,
  status: z.enum(["open", "resolved"]),
  severity: z.enum(["page", "ticket"]),
};

const name = z.string().max(128);

/** The dimensions that a cell may fix. What is not fixed is summed over. */
export const alertCellSchema = z.object({
  kind: z.enum([
    "all",
    "region",
    "title",
    "title_region",
    "cdn",
    "build",
    "region_cdn",
    "region_isp",
    "region_build",
    "region_model",
  ]).describe("which dimensions are fixed"),
  region: name.exactOptional(),
  title: name.exactOptional(),
  cdn: name.exactOptional(),
  isp: name.exactOptional(),
  build: name.exactOptional(),
  model: name.exactOptional(),
});

const viewers = {
  watching: count.describe("viewer sessions"),
  impaired: count.describe("those of them that are impaired, by `definition.impaired`"),
  share: share.describe("impaired / watching"),
  baseline: share.describe("the share that is usual here"),
};

const measures = {
  ...viewers,
  span_ms: count.describe("over which a session is judged"),
  bound: z.number().min(0).describe("impaired viewers that open an incident"),
  rebuffer_ms: count.describe("stalled time in the last 60 s"),
  played_ms: count.describe("shown time in the last 60 s"),
};

/** `alerts.rebuffer.>`, `alerts.cohort.>`, `alerts.start.>` and `alerts.silent.>`: live's incidents. */
export const incidentAlertSchema = z.object({
  v: z.literal(2),
  kind: z.literal("incident"),
  ...common,
  update: z.int().min(1).describe(
    "1 in the open, then counting; `<incident_id>.<update>` is unique",
  ),
  status: z.enum(["open", "update", "resolved", "closed"]).describe(
    "open and update: it goes on; resolved: viewers have recovered; closed: it ended without that",
  ),
  severity: z.enum(["info", "warning", "critical"]).describe("the highest that it has reached"),
  page: z.boolean().describe("whether this message pages; at most one of an incident does"),
  paged_at: time.exactOptional().describe("when on-call was paged; absent: it was not"),
  signal: z.enum(["rebuffer", "start", "silent"])
    .describe("stalls, players that show no first frame, or an audience that has vanished"),
  cell: alertCellSchema,
  why: z.enum(["doubled", "halved", "dimension", "folded", "severity"]).exactOptional()
    .describe("in an update: what has changed"),
  outcome: z.enum(["recovered", "gone", "chronic", "folded"]).exactOptional().describe(
    "in the last message: viewers recovered, too few were left to tell, it has become usual, or " +
      "another incident explains it",
  ),
  onset_at: time.describe("the first impaired second, in event time"),
  received_at: time.describe("receipt of the newest heartbeat behind this message"),
  detected_ms: count.describe("from onset_at to opened_at"),
  definition: z.object({ ratio: z.string().max(300), impaired: z.string().max(300) })
    .describe("what `ratio` and `impaired` mean"),
  ratio: share.nullable().describe("rebuffer ratio by `definition.ratio`; null: nobody played"),
  ...measures,
  peak: z.object(measures).describe("the worst so far"),
  evidence: z.number().min(0).max(300)
    .describe("-log10 of the probability that this is chance under the baseline"),
  dimensions: z.array(z.object({ cell: alertCellSchema, ...viewers })).max(10)
    .describe("the worst cells that this incident explains, worst first"),
  folded: count.describe("cells over their bound that this incident explains"),
  withheld: z.object({
    incidents: count.describe("incidents that have no page of their own"),
    alone: z.boolean().describe("whether nothing else keeps this incident open"),
  }).exactOptional().describe("more opened at once than may page"),
  coverage: share.describe("share of the heartbeats that the figures are made from"),
  degraded: z.literal(true).exactOptional()
    .describe("live is too far behind to see every heartbeat: counts are of the share `coverage`"),
  next: z.array(z.string().min(1).max(1_500)).max(3).describe("commands to run next"),
});

/** `alerts.quarantine.<reason>`: the quarantine has too many entries or grows too fast. */
export const quarantineAlertSchema = z.object({
  ...ofOpenAndResolve,
  kind: z.literal("quarantine"),
  reason: z.string().describe("a rejection reason, or `all` for the whole quarantine"),
  measure: z.enum(["depth", "growth_per_minute"])
    .describe("of value and limit: entries in the depth window, or entries per minute"),
  value: z.number(),
  limit: z.number(),
});

/** `alerts.pipeline.<what>`: Twofold itself has a problem. */
export const pipelineAlertSchema = z.object({
  ...ofOpenAndResolve,
  kind: z.literal("pipeline"),
  what: z.string().min(1).describe("the problem; the last token of the subject"),
  value: z.number().optional(),
  limit: z.number().optional(),
});

/** Any alert; `kind` says which. */
export const alertSchema = z.discriminatedUnion("kind", [
  incidentAlertSchema,
  quarantineAlertSchema,
  pipelineAlertSchema,
]);

/** See {@link alertCellSchema}. */
export type AlertCell = Readonly<z.infer<typeof alertCellSchema>>;
/** See {@link suppressionSchema}. */
export type Suppression = Readonly<z.infer<typeof suppressionSchema>>;
/** See {@link incidentAlertSchema}. */
export type IncidentAlert = z.infer<typeof incidentAlertSchema>;
/** See {@link quarantineAlertSchema}. */
export type QuarantineAlert = z.infer<typeof quarantineAlertSchema>;
/** See {@link pipelineAlertSchema}. */
export type PipelineAlert = z.infer<typeof pipelineAlertSchema>;
/** Any alert. */
export type Alert = z.infer<typeof alertSchema>;
/** How bad an incident is. */
export type Severity = IncidentAlert["severity"];

/** Whether the incident of `alert` goes on after this message. */
export function isOpen(alert: Pick<Alert, "status">): boolean {
  return alert.status === "open" || alert.status === "update";
}

/** Whether on-call was or would be paged by the incident of `alert`. */
export function pagesOncall(alert: Alert): boolean {
  if (alert.suppressed_by !== undefined) return false;
  return alert.kind === "incident" ? alert.paged_at !== undefined : alert.severity === "page";
}

const RANK: Readonly<Record<Alert["severity"], number>> = {
  critical: 0,
  page: 1,
  warning: 2,
  ticket: 3,
  info: 4,
};

/** Orders alerts: what pages first, then by severity, then the newest first. */
export function byUrgency(a: Alert, b: Alert): number {
  return Number(pagesOncall(b)) - Number(pagesOncall(a)) || RANK[a.severity] - RANK[b.severity] ||
    b.opened_at - a.opened_at;
}

/** Whether `alert` asks for a person. */
export function isPage(alert: Alert): boolean {
  if (alert.suppressed_by !== undefined) return false;
  return alert.kind === "incident"
    ? alert.page
    : alert.status === "open" && alert.severity === "page";
}
