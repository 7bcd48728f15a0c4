/**
 * What a durable delivers: messages, and the heartbeats in them, the same for every reader.
 *
 * @module
 */
import type { JsMsg } from "nats/jetstream";
import { ENDS_HEADER } from "../topology.ts";
import { eventsOf } from "./frame.ts";
import { headerBefore, headerValueOf } from "./header_text.ts";

/** A heartbeat as its reader receives it. Its address is stream, sequence and index. */
export interface Delivery {
  readonly bytes: Uint8Array;
  /** Sequence of its message in the stream. */
  readonly sequence: number;
  /** Its place in the message, from 0. */
  readonly index: number;
  /** Receipt: when the stream stored it, ms since the epoch. */
  readonly receivedAtMs: number;
}

/** A message of a stream as its reader receives it. */
export interface DeliveredMessage {
  /** The heartbeats in it, at least one: views of its bytes. */
  readonly events: readonly Uint8Array[];
  /** Sequence in the stream. */
  readonly sequence: number;
  /** Receipt: when the stream stored it, ms since the epoch. */
  readonly receivedAtMs: number;
  /** Whether the durable has delivered it before. */
  readonly redelivered: boolean;
  /** Its number among the deliveries of the durable, from 1 after each reset. */
  readonly deliverySequence: number;
}

/** The deliveries in `message`, in their order. */
export function deliveriesIn({ events, sequence, receivedAtMs }: DeliveredMessage): Delivery[] {
  return events.map((bytes, index) => ({ bytes, sequence, index, receivedAtMs }));
}

/** `message` with the fields that Twofold uses. */
export function deliveredMessage(message: JsMsg): DeliveredMessage {
  const events = eventsOf(message.data, endsIn(message));
  return { events, ...(metadataOfReply(message) ?? metadataOfInfo(message)) };
}

/** The parts of a NATS message in which ends are looked for. */
export interface FramedMessage {
  readonly data: Uint8Array;
  readonly headers?: { get(name: string): string } | undefined;
}

/** The ends of the heartbeats in `message`; undefined when it says none. */
export function endsIn(message: FramedMessage): string | undefined {
  const header = headerBefore(message.data);
  if (header !== undefined) return headerValueOf(header, ENDS_HEADER);
  return message.headers?.get(ENDS_HEADER) || undefined;
}

type Metadata = Omit<DeliveredMessage, "events">;

function metadataOfInfo({ info }: JsMsg): Metadata {
  return {
    sequence: info.streamSequence,
    receivedAtMs: Math.floor(info.timestampNanos / 1_000_000),
    redelivered: info.redelivered,
    deliverySequence: info.deliverySequence,
  };
}

const ACK_PREFIX = "$JS.ACK.";

// `$JS.ACK.<stream>.<durable>.<deliveries>.<stream seq>.<seq>.<ns>.<pending>`, or with a domain and
// account before the stream and an optional random token at the end. Reads the first form only;
// `message.info` reads all, but splits the subject into ten strings, which took as long as
// everything else that live does with a heartbeat.
function metadataOfReply(message: JsMsg): Metadata | undefined {
  const { reply } = message as { reply?: string };
  if (!reply?.startsWith(ACK_PREFIX)) return undefined;
  const streamEnd = reply.indexOf(".", ACK_PREFIX.length);
  const durableEnd = reply.indexOf(".", streamEnd + 1);
  const deliveriesEnd = reply.indexOf(".", durableEnd + 1);
  const sequenceEnd = reply.indexOf(".", deliveriesEnd + 1);
  const consumerSequenceEnd = reply.indexOf(".", sequenceEnd + 1);
  const nanosEnd = reply.indexOf(".", consumerSequenceEnd + 1);
  if (nanosEnd < 0 || reply.indexOf(".", nanosEnd + 1) >= 0) return undefined;
  return {
    sequence: Number(reply.slice(deliveriesEnd + 1, sequenceEnd)),
    // Nanoseconds without the last six digits are milliseconds.
    receivedAtMs: Number(reply.slice(consumerSequenceEnd + 1, nanosEnd - 6)),
    redelivered: deliveriesEnd - durableEnd !== 2 || reply[durableEnd + 1] !== "1",
    deliverySequence: Number(reply.slice(sequenceEnd + 1, consumerSequenceEnd)),
  };
}
