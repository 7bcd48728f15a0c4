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

const PAGE_ALERTS = 1_000;

/**
 * The open alerts of an earlier process, by subject. Reads the stream in pages: `multi_last` would
 * be one request, but the server refuses it for more than 1,024 subjects. Alerts that cannot be
 * read are logged and skipped.
 */
export async function openAlerts(jsm: JetStreamManager, log: Log): Promise<OpenAlerts> {
  const open: OpenAlerts = new Map();
  for (const filter of [...INCIDENT_SUBJECTS, alertSubject.pipeline(NO_DATA)]) {
    for (let next = 1; next > 0;) next = await readPage(jsm, filter, next, open, log);
  }
  return open;
}

/**
 * Applies a page of alerts from sequence `from`; returns that of the next page, or 0 at the end.
 */
async function readPage(
  jsm: JetStreamManager,
  next_by_subj: string,
  from: number,
  open: OpenAlerts,
  log: Log,
): Promise<number> {
  let last = 0;
  try {
    const page = await jsm.direct.getBatch(ALERTS, { seq: from, batch: PAGE_ALERTS, next_by_subj });
    for await (const { subject, seq, data } of page) {
      last = seq;
      const alert = readAlert(subject, data);
      if (!alert) log.warn("live.alerts.unreadable", { subject, seq });
      else if (isOpen(alert)) open.set(subject, alert);
      else open.delete(subject);
    }
  } catch (error) {
    // 404: no more messages. The client does not export the class of this error.
    if ((error as { code?: unknown }).code !== 404) throw error;
  }
  return last === 0 ? 0 : last + 1;
}

// An alert on a subject that is not its own would be resolved on another one.
function readAlert(subject: string, data: Uint8Array): LiveAlert | undefined {
  const alert = alertSchema.safeParse(jsonOf(data)).data;
  if (alert === undefined || alert.kind === "quarantine") return undefined;
  return subjectOf(alert) === subject ? alert : undefined;
}

function jsonOf(data: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(data));
  } catch {
    return undefined;
  }
}
