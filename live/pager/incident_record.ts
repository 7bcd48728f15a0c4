/**
 * What is known of an incident that paged, and what each receiver has got of it.
 *
 * A record is made from the alerts of an incident in any order and number: an alert that comes again
 * or late changes nothing that a newer one has said. What a receiver gets next follows from the
 * record alone: first the page, then the newest news, at last the end.
 *
 * Pure. Times are ms since the epoch.
 *
 * @module
 */
import { z } from "zod";
import { type Alert, alertSchema, isOpen, isPage } from "../../shared/contract/alert.ts";
import type { Message } from "./receivers/receiver.ts";

/** How long after its end an incident is still delivered. */
export const MAX_LATE_MS = 3_600_000;

const progressSchema = z.object({
  /**
   * What became of the page. Only a receiver that got it gets more of the incident; one that refused
   * it is asked again while the incident is open.
   */
  page: z.enum(["delivered", "refused", "given_up"]),
  /** Order of the newest message that is dealt with. */
  order: z.int().min(0),
});

/** A record as it is stored. */
export const incidentRecordSchema = z.object({
  v: z.literal(1),
  incident_id: z.string().min(1).max(200),
  subject: z.string().min(1).max(2_048),
  /** The alert that paged; absent while only later ones have arrived. */
  page: alertSchema.exactOptional(),
  /** The newest alert. */
  last: alertSchema,
  /** DeliveryProgress by name of the receiver. */
  receivers: z.record(z.string(), progressSchema),
});

/** See {@link incidentRecordSchema}. */
export type IncidentRecord = Readonly<z.infer<typeof incidentRecordSchema>>;
/** What a receiver has got of an incident. */
export type DeliveryProgress = Readonly<z.infer<typeof progressSchema>>;
/** What became of a message. */
export type DeliveryOutcome = DeliveryProgress["page"];

/** Counts the alerts of an incident. */
export function orderOf(alert: Alert): number {
  if (alert.kind === "incident") return alert.update;
  return isOpen(alert) ? 1 : 2;
}

/** Whether some message of the incident of `alert` has paged, as far as `alert` tells. */
function hasPaged(alert: Alert): boolean {
  return alert.kind === "incident" ? alert.paged_at !== undefined : alert.severity === "page";
}

/** Whether `alert` is a page, or stands for one that did not arrive: its incident still pages. */
function standsForPage(alert: Alert): boolean {
  if (isPage(alert)) return true;
  return isOpen(alert) && hasPaged(alert) && alert.suppressed_by === undefined;
}

/** `known` with `alert`; undefined when that changes nothing, or nobody has to know of it. */
export function withAlert(
  known: IncidentRecord | undefined,
  subject: string,
  alert: Alert,
): IncidentRecord | undefined {
  if (known === undefined) {
    if (!standsForPage(alert) && (isOpen(alert) || !hasPaged(alert))) return undefined;
    const record = {
      v: 1,
      incident_id: alert.incident_id,
      subject,
      last: alert,
      receivers: {},
    } as const;
    return standsForPage(alert) ? { ...record, page: alert } : record;
  }
  const isNewer = orderOf(alert) > orderOf(known.last);
  const isMissingPage = known.page === undefined
    ? standsForPage(alert)
    // The page itself, after one that stood for it and that nobody was told.
    : isPage(alert) && !isPage(known.page) && Object.keys(known.receivers).length === 0;
  if (!isNewer && !isMissingPage) return undefined;
  return {
    ...known,
    ...(isMissingPage ? { page: alert } : {}),
    last: isNewer ? alert : known.last,
  };
}

/** `record` after the message of `order` to `receiver` had `outcome`. */
export function withOutcome(
  record: IncidentRecord,
  receiver: string,
  order: number,
  outcome: DeliveryOutcome,
): IncidentRecord {
  const before = record.receivers[receiver];
  const progress: DeliveryProgress = before === undefined || before.page === "refused"
    ? { page: outcome, order }
    : { page: before.page, order: Math.max(before.order, order) };
  return { ...record, receivers: { ...record.receivers, [receiver]: progress } };
}

/** What two records of one incident know together. */
export function mergedRecord(a: IncidentRecord, b: IncidentRecord): IncidentRecord {
  const receivers = { ...a.receivers };
  for (const [name, progress] of Object.entries(b.receivers)) {
    const known = receivers[name];
    const isFurther = known === undefined || known.order < progress.order ||
      (known.page === "refused" && progress.page === "delivered");
    if (isFurther) receivers[name] = progress;
  }
  const page = a.page ?? b.page;
  const last = orderOf(b.last) > orderOf(a.last) ? b.last : a.last;
  return { ...a, ...(page === undefined ? {} : { page }), last, receivers };
}

/** What `receiver` gets next; undefined when it has got everything so far. */
export function nextMessage(record: IncidentRecord, receiver: string): Message | undefined {
  const { page, last, subject } = record;
  if (page === undefined) return undefined;
  const progress = record.receivers[receiver];
  // A receiver that refused may have been repaired.
  const isAskedAgain = progress?.page === "refused" && isOpen(last);
  if (progress === undefined || isAskedAgain) {
    return { step: "page", subject, page, alert: page, order: orderOf(page) };
  }
  const order = orderOf(last);
  if (progress.page !== "delivered" || order <= progress.order) return undefined;
  if (!isOpen(last)) return { step: "end", subject, page, alert: last, order };
  // A silence that began after the page keeps the news back; not the end.
  if (last.suppressed_by !== undefined) return undefined;
  return { step: "update", subject, page, alert: last, order };
}

/** What `receiver` gets again while the incident is open; undefined unless it got the page. */
export function repeatedMessage(record: IncidentRecord, receiver: string): Message | undefined {
  const { page, last, subject } = record;
  if (page === undefined || !isOpen(last)) return undefined;
  if (record.receivers[receiver]?.page !== "delivered") return undefined;
  const alert = last.suppressed_by === undefined ? last : page;
  return { step: "repeat", subject, page, alert, order: orderOf(alert) };
}

/**
 * Whether nobody has got its page: it waits, or every receiver has refused it and the incident goes
 * on.
 */
export function isUnheard(record: IncidentRecord, names: readonly string[]): boolean {
  const { page, receivers, last } = record;
  if (page === undefined || names.length === 0) return false;
  if (names.some((name) => receivers[name]?.page === "delivered")) return false;
  return isOpen(last) || names.some((name) => receivers[name] === undefined);
}

/** Whether it is too late at `nowMs` to deliver anything more of the incident. */
export function isTooLate({ last }: IncidentRecord, nowMs: number): boolean {
  return !isOpen(last) && nowMs - last.at > MAX_LATE_MS;
}

/** Whether nothing is left to do: the incident has ended, and every receiver has got that. */
export function isDone(record: IncidentRecord, receivers: readonly string[]): boolean {
  return !isOpen(record.last) &&
    receivers.every((receiver) => nextMessage(record, receiver) === undefined);
}
