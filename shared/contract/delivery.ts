/**
 * What live, royalty and triage share of reading a durable and setting rejects aside.
 *
 * @module
 */
import { headers as natsHeaders } from "nats";
import type { JetStreamClient, JsMsg } from "nats/jetstream";
import { printable, type Rejection } from "./event.ts";
import { QUARANTINE_HEADER, quarantineSubject } from "./topology.ts";

/** One raw message of a stream. */
export interface Delivery {
  readonly bytes: Uint8Array;
  readonly sequence: number;
  /** When the stream stored it, ms since the epoch: the receipt time of every rule. */
  readonly receivedAt: number;
  readonly redelivered: boolean;
}

/** The parts of `message` that Twofold uses; parses the reply subject once. */
export function deliveryOf(message: JsMsg): Delivery {
  const bytes = message.data;
  const { reply } = message as { reply?: string };
  const plain = reply === undefined ? undefined : deliveryOfReply(bytes, reply);
  if (plain) return plain;
  const info = message.info;
  return {
    bytes,
    sequence: info.streamSequence,
    receivedAt: Math.floor(info.timestampNanos / 1_000_000),
    redelivered: info.redelivered,
  };
}

const ACK_PREFIX = "$JS.ACK.";

// `$JS.ACK.<stream>.<durable>.<deliveries>.<stream seq>.<seq>.<ns>.<pending>`, or the same with a
// domain and account before the stream and perhaps a random token at the end. `message.info` splits
// it into ten strings, which took as long as all the rest that live does with a heartbeat.
function deliveryOfReply(bytes: Uint8Array, reply: string): Delivery | undefined {
  if (!reply.startsWith(ACK_PREFIX)) return undefined;
  const streamEnd = reply.indexOf(".", ACK_PREFIX.length);
  const durableEnd = reply.indexOf(".", streamEnd + 1);
  const deliveriesEnd = reply.indexOf(".", durableEnd + 1);
  const sequenceEnd = reply.indexOf(".", deliveriesEnd + 1);
  const consumerSequenceEnd = reply.indexOf(".", sequenceEnd + 1);
  const nanosEnd = reply.indexOf(".", consumerSequenceEnd + 1);
  if (nanosEnd < 0 || reply.indexOf(".", nanosEnd + 1) >= 0) return undefined;
  return {
    bytes,
    sequence: Number(reply.slice(deliveriesEnd + 1, sequenceEnd)),
    // Without the last six digits nanoseconds are milliseconds.
    receivedAt: Number(reply.slice(consumerSequenceEnd + 1, nanosEnd - 6)),
    redelivered: deliveriesEnd - durableEnd !== 2 || reply[durableEnd + 1] !== "1",
  };
}

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
