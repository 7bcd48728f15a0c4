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
  /** The same on the open and the resolve of one incident. */
  incident_id: z.string().min(1),
  status: z.enum(["open", "resolved"]),
  severity: z.enum(["page", "ticket"]),
  /** When the incident opened. */
  opened_at: z.int(),
  /** When this message was made. */
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
  /** What `ratio` means; every alert names it. */
  definition: z.string(),
  ratio: z.number().min(0).max(1),
  threshold: z.number().min(0).max(1),
  /** The sample behind `ratio`. */
  window_ms: z.int(),
  heartbeats: z.int(),
  played_ms: z.int(),
  rebuffer_ms: z.int(),
  /** About how many sessions stalled. */
  stalled_sessions: z.int(),
  /** Of a resolve: the ratio went down, or nobody watches any more. */
  outcome: z.enum(["recovered", "no_data"]).optional(),
  /** Receipt of the newest heartbeat behind the decision, for receipt-to-alert latency. */
  received_at: z.int(),
});

/** `alerts.quarantine.<reason>`: the quarantine is too deep or grows too fast. */
export const quarantineAlertSchema = z.object({
  ...common,
  kind: z.literal("quarantine"),
  /** A rejection reason, or `all` for the whole quarantine. */
  reason: z.string(),
  measure: z.enum(["depth", "growth_per_minute"]),
  value: z.number(),
  limit: z.number(),
});

/** `alerts.pipeline.<what>`: Twofold itself needs attention. */
export const pipelineAlertSchema = z.object({
  ...common,
  kind: z.literal("pipeline"),
  what: z.string().min(1),
  value: z.number().optional(),
  limit: z.number().optional(),
});

export const alertSchema = z.discriminatedUnion("kind", [
  rebufferAlertSchema,
  quarantineAlertSchema,
  pipelineAlertSchema,
]);

export type RebufferAlert = z.infer<typeof rebufferAlertSchema>;
export type QuarantineAlert = z.infer<typeof quarantineAlertSchema>;
export type PipelineAlert = z.infer<typeof pipelineAlertSchema>;
export type Alert = z.infer<typeof alertSchema>;
