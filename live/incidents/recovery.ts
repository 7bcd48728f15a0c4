/**
 * Recovers the open incidents of an earlier process from ALERTS.
 *
 * @module
 */
import type { JetStreamManager } from "nats/jetstream";
import { alertSchema, isOpen } from "../../shared/contract/alert.ts";
import { ALERTS, alertSubject, INCIDENT_SUBJECTS } from "../../shared/contract/topology.ts";
import type { Log } from "../../shared/process/log.ts";
import { idMsOf } from "./incident.ts";
import { LIVE_PIPELINE_ALERTS, type LiveAlert, type OpenAlerts, subjectOf } from "./incidents.ts";
import { jsonOf, keptMessages } from "../../shared/process/kept/kept_messages.ts";

/** What was told until now. */
export interface Told {
  /** The open alerts, by subject. */
  readonly open: OpenAlerts;
  /** Sequence of the last message of each subject. */
  readonly lastSequences: Map<string, number>;
  /** The highest time in an incident id, of those that have ended too, ms since the epoch. */
  readonly lastIdMs: number;
}

/**
 * What processes of live have told until now. Alerts that cannot be read are logged and skipped.
 */
export async function toldAlerts(jsm: JetStreamManager, log: Log): Promise<Told> {
  const open: OpenAlerts = new Map();
  const lastSequences = new Map<string, number>();
  let lastIdMs = 0;
  const pipeline = LIVE_PIPELINE_ALERTS.map((what) => alertSubject.pipeline(what));
  for (const filter of [...INCIDENT_SUBJECTS, ...pipeline]) {
    for await (const { subject, seq, data } of keptMessages(jsm, ALERTS, filter)) {
      lastSequences.set(subject, seq);
      const alert = readAlert(subject, data);
      if (alert) lastIdMs = Math.max(lastIdMs, idMsOf(alert.incident_id));
      if (!alert) log.warn("live.alerts.unreadable", { subject, seq });
      else if (isOpen(alert)) open.set(subject, alert);
      else open.delete(subject);
    }
  }
  return { open, lastSequences, lastIdMs };
}

// An alert on a subject that is not its own would be resolved on another one.
function readAlert(subject: string, data: Uint8Array): LiveAlert | undefined {
  const alert = alertSchema.safeParse(jsonOf(data)).data;
  if (alert === undefined || alert.kind === "quarantine") return undefined;
  return subjectOf(alert) === subject ? alert : undefined;
}
