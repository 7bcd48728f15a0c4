/**
 * Alertmanager's API v2: `POST /api/v2/alerts`.
 *
 * Alertmanager tells alerts apart by their labels, so the labels come from the page and never
 * change; what changes is in the annotations. An open alert ends by itself after the resolve
 * timeout; the courier repeats it before that.
 *
 * Pure. Source of the format: prometheus/alertmanager `api/v2/openapi.yaml`, `postableAlert`.
 *
 * @module
 */
import { type Alert, isOpen } from "../../../shared/contract/alert.ts";
import { cut, instantText, type Message, type Post, type Receiver } from "./receiver.ts";

const MAX_TEXT_CHARS = 2_000;

/** The POST of `message` at `nowMs`, ms since the epoch. */
export function alertmanagerPost(
  { url, resolveTimeoutMs, authorization }: Extract<Receiver, { kind: "alertmanager" }>,
  { subject, page, alert }: Message,
  nowMs: number,
): Post {
  // An end before the start is refused; a clock may be behind that of the stream.
  const endsMs = isOpen(alert) ? nowMs + resolveTimeoutMs : Math.max(alert.at, page.opened_at);
  const body = [{
    labels: labelsOf(subject, page),
    annotations: annotationsOf(alert),
    startsAt: instantText(page.opened_at),
    endsAt: instantText(endsMs),
  }];
  return {
    url: `${url.replace(/\/+$/, "")}/api/v2/alerts`,
    headers: {
      "content-type": "application/json",
      ...(authorization === undefined ? {} : { authorization }),
    },
    body: JSON.stringify(body),
  };
}

function labelsOf(subject: string, page: Alert): Record<string, string> {
  const labels = {
    alertname: nameOf(page),
    service: "twofold",
    subject,
    incident_id: page.incident_id,
    // Severity may rise in the life of an incident; as a label it would make a second alert.
    severity: page.severity,
    kind: page.kind,
    ...(page.kind === "incident" ? { signal: page.signal, ...dimensionsOf(page.cell) } : {}),
  };
  // An empty label is the same as none.
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ""));
}

function nameOf(page: Alert): string {
  if (page.kind === "incident") return `Twofold_${page.signal}`;
  return page.kind === "quarantine" ? "Twofold_quarantine" : "Twofold_pipeline";
}

function dimensionsOf(cell: Extract<Alert, { kind: "incident" }>["cell"]): Record<string, string> {
  const { kind: _, ...dimensions } = cell;
  return dimensions;
}

function annotationsOf(alert: Alert): Record<string, string> {
  const incident = alert.kind === "incident"
    ? {
      current_severity: alert.severity,
      viewers: `${alert.impaired} of ${alert.watching} impaired`,
      next: cut(alert.next.join("\n"), MAX_TEXT_CHARS),
    }
    : {};
  const all: Record<string, string> = { summary: cut(alert.summary, MAX_TEXT_CHARS), ...incident };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ""));
}
