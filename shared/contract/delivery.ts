/**
 * A delivered message of a stream, with the same metadata for every reader.
 *
 * @module
 */
import type { JsMsg } from "nats/jetstream";

/** A message of a stream as its reader receives it. */
export interface Delivery {
  readonly bytes: Uint8Array;
  /** Sequence in the stream. */
  readonly sequence: number;
  /** Receipt: when the stream stored it, ms since the epoch. */
  readonly receivedAtMs: number;
  /** Whether the durable has delivered it before. */
  readonly redelivered: boolean;
}

/** The fields of `message` that Twofold uses. */
export function deliveryOf(message: JsMsg): Delivery {
  const bytes = message.data;
  const { reply } = message as { reply?: string };
  const fast = reply === undefined ? undefined : deliveryOfReply(bytes, reply);
  if (fast) return fast;
  const info = message.info;
  return {
    bytes,
    sequence: info.streamSequence,
    receivedAtMs: Math.floor(info.timestampNanos / 1_000_000),
    redelivered: info.redelivered,
  };
}

const ACK_PREFIX = "$JS.ACK.";

// `$JS.ACK.<stream>.<durable>.<deliveries>.<stream seq>.<seq>.<ns>.<pending>`, or with a domain and
// account before the stream and an optional random token at the end. Reads the first form only;
// `message.info` reads all, but splits the subject into ten strings, which took as long as
// everything else that live does with a heartbeat.
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
    // Nanoseconds without the last six digits are milliseconds.
    receivedAtMs: Number(reply.slice(consumerSequenceEnd + 1, nanosEnd - 6)),
    redelivered: deliveriesEnd - durableEnd !== 2 || reply[durableEnd + 1] !== "1",
  };
}
