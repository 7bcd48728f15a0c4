/**
 * What is open now, from the last message of each subject in ALERTS.
 *
 * @module
 */
import type { JetStreamManager } from "nats/jetstream";
import { type Alert, alertSchema, byUrgency, isOpen } from "../../shared/contract/alert.ts";
import { ALERTS } from "../../shared/contract/topology.ts";
import { jsonOf, lastMessages } from "../../shared/process/kept/kept_messages.ts";

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
  return [...last.values()].filter(({ alert }) => isOpen(alert))
    .sort((a, b) => byUrgency(a.alert, b.alert));
}

/** The alert in the payload of a message; undefined when it is none. */
export function parsedAlert(data: Uint8Array): Alert | undefined {
  return alertSchema.safeParse(jsonOf(data)).data;
}

async function lastOfEach(jsm: JetStreamManager): Promise<Map<string, SubjectAlert>> {
  const found = new Map<string, SubjectAlert>();
  for await (const { subject, data } of lastMessages(jsm, ALERTS, EVERYTHING)) {
    const alert = parsedAlert(data);
    if (alert) found.set(subject, { subject, alert });
  }
  return found;
}
