/**
 * What live sees now: coverage, lag and the figures of the open incidents, every few seconds, on
 * plain NATS. The deciding live process publishes it; pagers show it.
 *
 * Pure. Times are ms since the epoch, shares 0 to 1.
 *
 * @module
 */
import { z } from "zod";

/** Interval between two views, in ms. */
export const LIVE_VIEW_MS = 2_000;
/** Maximum incidents in a view: those with the most impaired viewers. */
export const MAX_VIEWED = 200;

const share = z.number().min(0).max(1);
const count = z.int().min(0);
const lag = z.number().min(0).nullable().describe("null: not known");

/** One open incident as it is now. */
export const viewedIncidentSchema = z.object({
  incident_id: z.string().min(1).max(200),
  subject: z.string().min(1).max(2_048),
  watching: count,
  impaired: count,
  share,
  baseline: share,
  bound: z.number().min(0).describe("impaired viewers that would open it"),
});

/** A message on `view.live`. */
export const liveViewSchema = z.object({
  v: z.literal(1),
  at: z.int().min(0).describe("when it was made, by the clock of the process"),
  instance: z.string().min(1).max(64),
  coverage: share.describe("share of the heartbeats that the figures are made from"),
  lag_ms: lag.describe("how far behind the newest heartbeats live is; the largest of the streams"),
  streams: z.array(z.object({ stream: z.string().min(1).max(64), lag_ms: lag })).max(64),
  incidents: z.array(viewedIncidentSchema).max(MAX_VIEWED),
});

/** See {@link viewedIncidentSchema}. */
export type ViewedIncident = Readonly<z.infer<typeof viewedIncidentSchema>>;
/** See {@link liveViewSchema}. */
export type LiveView = Readonly<z.infer<typeof liveViewSchema>>;
