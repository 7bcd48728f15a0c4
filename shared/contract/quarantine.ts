/**
 * The copy of a rejected heartbeat in QUARANTINE: its headers and its message id.
 *
 * @module
 */
import { headers as natsHeaders } from "nats";
import type { JetStreamClient } from "nats/jetstream";
import type { Delivery } from "./delivery.ts";
import { printable, type Rejection } from "./event.ts";
import { QUARANTINE_HEADER, quarantineSubject } from "./topology.ts";

/** A rejected delivery and its source. */
export interface Reject {
  readonly stream: string;
  readonly delivery: Delivery;
  readonly rejection: Rejection;
}

/**
 * Copies a rejected heartbeat to QUARANTINE and resolves once JetStream has acknowledged the copy;
 * only then may the source be acknowledged. Safe to repeat: the message id is the source's stream
 * and sequence, so live and royalty rejecting one event make one entry.
 */
export async function quarantine(
  js: JetStreamClient,
  rejectedBy: string,
  reject: Reject,
): Promise<void> {
  const { stream, delivery, rejection } = reject;
  const headers = natsHeaders();
  const set = (name: string, value: string) => headers.set(name, headerText(value));
  set(QUARANTINE_HEADER.reason, rejection.reason);
  set(QUARANTINE_HEADER.path, rejection.path);
  set(QUARANTINE_HEADER.detail, rejection.detail);
  set(QUARANTINE_HEADER.stream, stream);
  set(QUARANTINE_HEADER.sequence, String(delivery.sequence));
  set(QUARANTINE_HEADER.rejectedBy, rejectedBy);
  set(QUARANTINE_HEADER.receivedAt, String(delivery.receivedAt));
  if (rejection.build !== undefined) set(QUARANTINE_HEADER.build, rejection.build);
  await js.publish(quarantineSubject(rejection.reason), delivery.bytes, {
    headers,
    msgID: `${stream}:${delivery.sequence}`,
  });
}

// NATS headers are lines: percent-encode what is not printable ASCII, and trim nothing away.
function headerText(value: string): string {
  // A space at either end stays encoded: parsers trim it.
  return encodeURI(printable(value)).replace(/(?<=.)%20(?=.)/g, " ").replaceAll("%22", '"');
}

/** The text that {@link quarantine} put into a header. */
export function headerValue(value: string): string {
  try {
    return decodeURI(value);
  } catch {
    return value;
  }
}
