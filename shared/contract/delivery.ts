/**
 * One delivered message of a stream, read once and the same by every reader.
 *
 * @module
 */
import type { JsMsg } from "nats/jetstream";

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
