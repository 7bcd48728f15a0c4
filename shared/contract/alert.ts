/**
 * The payload of every message on `alerts.>`.
 *
 * Pure. Times are ms since the epoch, ratios are 0 to 1.
 *
 * @module
 */
import { z } from "zod";

const common = {
  v: z.literal(1),
  /** The same in the open and the resolve of one incident. */
  incident_id: z.string().min(1),
  status: z.enum(["open", "resolved"]),
  severity: z.enum(["page", "ticket"]),
  /** When the incident opened. */
  opened_at: z.int(),
  /** When this message was created. */
  at: z.int(),
  /** One line for the person who is paged. */
  summary: z.string().min(1),
};

/** `alerts.rebuffer.<region>.<title>`: viewers of one title in one region are stalling. */
export const rebufferAlertSchema = z.object({
  ...common,
  kind: z.literal("rebuffer"),
  title_id: z.string(),
  region: z.string(),
  /** The definition of `ratio`. */
  definition: z.string(),
  ratio: z.number().min(0).max(1),
  threshold: z.number().min(0).max(1),
  /** The sample of `ratio`: span of event time, heartbeats, and their sums. */
  window_ms: z.int(),
  heartbeats: z.int(),
  played_ms: z.int(),
  rebuffer_ms: z.int(),
  /** Estimated number of sessions that stalled. */
  stalled_sessions: z.int(),
  /** Only in a resolve: the ratio went down, or there have been no heartbeats for minutes. */
  outcome: z.enum(["recovered", "no_data"]).optional(),
  /** Receipt of the newest heartbeat that the decision includes, for the alert latency. */
  received_at: z.int(),
});

/** `alerts.quarantine.<reason>`: the quarantine has too many entries or grows too fast. */
export const quarantineAlertSchema = z.object({
  ...common,
  kind: z.literal("quarantine"),
  /** A rejection reason, or `all` for the whole quarantine. */
  reason: z.string(),
  /** What `value` and `limit` measure: entries in the depth window, or entries per minute. */
  measure: z.enum(["depth", "growth_per_minute"]),
  value: z.number(),
  limit: z.number(),
});

/** `alerts.pipeline.<what>`: Twofold itself has a problem. */
export const pipelineAlertSchema = z.object({
  ...common,
  kind: z.literal("pipeline"),
  /** The problem; the last token of the subject. */
  what: z.string().min(1),
  value: z.number().optional(),
  limit: z.number().optional(),
});

/** Any alert; `kind` says which. */
export const alertSchema = z.discriminatedUnion("kind", [
  rebufferAlertSchema,
  quarantineAlertSchema,
  pipelineAlertSchema,
]);

/** See {@link rebufferAlertSchema}. */
export type RebufferAlert = z.infer<typeof rebufferAlertSchema>;
/** See {@link quarantineAlertSchema}. */
export type QuarantineAlert = z.infer<typeof quarantineAlertSchema>;
/** See {@link pipelineAlertSchema}. */
export type PipelineAlert = z.infer<typeof pipelineAlertSchema>;
/** Any alert. */
export type Alert = z.infer<typeof alertSchema>;
