/**
 * Publishes a rejected heartbeat to QUARANTINE, with its headers and message id.
 *
 * @module
 */
import { headers as natsHeaders } from "nats";
import type { JetStreamClient } from "nats/jetstream";
import type { Delivery } from "./delivery/delivery.ts";
import { printable, type Rejection } from "./event.ts";
import { QUARANTINE_HEADER, quarantineSubject } from "./topology.ts";

/** A rejected delivery. */
export interface Reject {
  /** The stream that it was delivered from. */
  readonly stream: string;
  readonly delivery: Delivery;
  readonly rejection: Rejection;
}

/**
 * Copies a rejected heartbeat to QUARANTINE; resolves once JetStream has acknowledged the copy.
 * Idempotent: the message id is the address of the source, so an event that both live and royalty
 * reject is one entry. Rejects with the
 * client's error. `rejectedBy` is the name of the durable.
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
  set(QUARANTINE_HEADER.index, String(delivery.index));
  set(QUARANTINE_HEADER.rejectedBy, rejectedBy);
  set(QUARANTINE_HEADER.receivedAt, String(delivery.receivedAtMs));
  if (rejection.build !== undefined) set(QUARANTINE_HEADER.build, rejection.build);
  await js.publish(quarantineSubject(rejection.reason), delivery.bytes, {
    headers,
    msgID: copyId(stream, delivery),
  });
}

/** The message id of the copy of the heartbeat at an address: `stream:sequence:index`. */
export function copyId(
  stream: string,
  { sequence, index }: Pick<Delivery, "sequence" | "index">,
): string {
  return `${stream}:${sequence}:${index}`;
}

/** The address in an id of {@link copyId}; undefined for any other id. */
export function addressOf(
  id: string,
): Pick<Delivery, "sequence" | "index"> & { readonly stream: string } | undefined {
  // Before a message could hold several, an id had no index.
  const [, stream, sequence, index = "0"] = COPY_ID.exec(id) ?? [];
  if (stream === undefined) return undefined;
  return { stream, sequence: Number(sequence), index: Number(index) };
}

const COPY_ID = /^([^:]+):(\d+)(?::(\d+))?$/;

// Header values are lines of text: percent-encode everything that is not printable ASCII.
function headerText(value: string): string {
  // A space at either end stays encoded, because parsers trim it.
  return encodeURI(printable(value)).replace(/(?<=.)%20(?=.)/g, " ").replaceAll("%22", '"');
}

/** Decodes a header value that {@link quarantine} has encoded. */
export function headerValue(value: string): string {
  try {
    return decodeURI(value);
  } catch {
    return value;
  }
}
