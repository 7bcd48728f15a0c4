/**
 * Recovers the open incidents of an earlier process from ALERTS.
 *
 * @module
 */
import type { JetStreamManager } from "nats/jetstream";
import { alertSchema, isOpen } from "../../shared/contract/alert.ts";
import { ALERTS, alertSubject, INCIDENT_SUBJECTS } from "../../shared/contract/topology.ts";
import type { Log } from "../../shared/process/log.ts";
import { type LiveAlert, NO_DATA, type OpenAlerts, subjectOf } from "./incidents.ts";
import { jsonOf, keptMessages } from "./kept_messages.ts";

/**
 * The open alerts of an earlier process, by subject. Alerts that cannot be read are logged and
 * skipped.
 */
export async function openAlerts(jsm: JetStreamManager, log: Log): Promise<OpenAlerts> {
  const open: OpenAlerts = new Map();
  for (const filter of [...INCIDENT_SUBJECTS, alertSubject.pipeline(NO_DATA)]) {
    for await (const { subject, seq, data } of keptMessages(jsm, ALERTS, filter)) {
      const alert = readAlert(subject, data);
      if (!alert) log.warn("live.alerts.unreadable", { subject, seq });
      else if (isOpen(alert)) open.set(subject, alert);
      else open.delete(subject);
    }
  }
  return open;
}

// An alert on a subject that is not its own would be resolved on another one.
function readAlert(subject: string, data: Uint8Array): LiveAlert | undefined {
  const alert = alertSchema.safeParse(jsonOf(data)).data;
  if (alert === undefined || alert.kind === "quarantine") return undefined;
  return subjectOf(alert) === subject ? alert : undefined;
}
