/**
 * What is open now, from the last message of each subject in ALERTS.
 *
 * @module
 */
import type { JetStreamManager, StoredMsg } from "nats/jetstream";
import { type Alert, alertSchema, isOpen } from "../../shared/contract/alert.ts";
import { ALERTS } from "../../shared/contract/topology.ts";
import { jsonOf, keptMessages } from "../incidents/kept_messages.ts";

const EVERYTHING = "alerts.>";

/** An alert and its subject. */
export interface SubjectAlert {
  readonly subject: string;
  readonly alert: Alert;
}

/**
 * The last alert of each subject whose incident goes on, what pages first, then by severity, then
 * the newest first. Messages that are no alerts are left out.
 */
export async function readOpenAlerts(jsm: JetStreamManager): Promise<SubjectAlert[]> {
  const last = await lastOfEach(jsm);
  return [...last.values()].filter(({ alert }) => isOpen(alert)).sort(byUrgency);
}

/** The alert in the payload of a message; undefined when it is none. */
export function parsedAlert(data: Uint8Array): Alert | undefined {
  return alertSchema.safeParse(jsonOf(data)).data;
}

/** Whether on-call was or would be paged by the incident of `alert`. */
export function pages(alert: Alert): boolean {
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

function byUrgency({ alert: a }: SubjectAlert, { alert: b }: SubjectAlert): number {
  return Number(pages(b)) - Number(pages(a)) || RANK[a.severity] - RANK[b.severity] ||
    b.opened_at - a.opened_at;
}

async function lastOfEach(jsm: JetStreamManager): Promise<Map<string, SubjectAlert>> {
  const found = new Map<string, SubjectAlert>();
  const take = ({ subject, data }: StoredMsg) => {
    const alert = parsedAlert(data);
    if (alert) found.set(subject, { subject, alert });
  };
  try {
    const all = await jsm.direct.getLastMessagesFor(ALERTS, { multi_last: [EVERYTHING] });
    for await (const message of all) take(message);
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    // 404: there is no message. 413: more than 1,024 subjects, which the server refuses.
    if (code !== 404 && code !== 413) throw error;
    if (code === 413) {
      for await (const message of keptMessages(jsm, ALERTS, EVERYTHING)) take(message);
    }
  }
  return found;
}
