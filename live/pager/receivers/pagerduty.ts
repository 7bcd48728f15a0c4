/**
 * PagerDuty's Events API v2: `trigger` and `resolve` with the incident id as `dedup_key`.
 *
 * Pure. Source of the format: PagerDuty's documentation "Send an Alert Event" (summary at most 1,024
 * characters, `dedup_key` at most 255).
 *
 * @module
 */
import type { Alert } from "../../../shared/contract/alert.ts";
import { cut, instantText, type Message, type Post, type Receiver } from "./receiver.ts";

const MAX_SUMMARY_CHARS = 1_024;

/** PagerDuty's severity by ours. */
const SEVERITY: Readonly<Record<Alert["severity"], "critical" | "error" | "warning" | "info">> = {
  critical: "critical",
  page: "critical",
  warning: "warning",
  ticket: "info",
  info: "info",
};

/** The POST of `message`. */
export function pagerdutyPost(
  { url, routingKey }: Extract<Receiver, { kind: "pagerduty" }>,
  { step, subject, page, alert }: Message,
): Post {
  const event = { routing_key: routingKey, dedup_key: page.incident_id };
  const body = step === "end"
    ? { ...event, event_action: "resolve" }
    : { ...event, event_action: "trigger", client: "Twofold", payload: payloadOf(subject, alert) };
  const headers = { "content-type": "application/json" };
  return { url, headers, body: JSON.stringify(body), secret: routingKey };
}

function payloadOf(subject: string, alert: Alert) {
  return {
    summary: cut(alert.summary, MAX_SUMMARY_CHARS),
    source: subject,
    severity: SEVERITY[alert.severity],
    timestamp: instantText(alert.at),
    component: alert.kind === "incident" ? "playback" : alert.kind,
    class: alert.kind === "incident" ? alert.signal : alert.kind,
    ...(alert.kind === "incident" ? { group: alert.cell.region ?? "all" } : {}),
    custom_details: alert,
  };
}
