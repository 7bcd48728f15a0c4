/**
 * A stored message as a direct get answers it: the bytes, and a header that says where they are from.
 *
 * The client makes a map of every header, which took as long as all other reading. It keeps the
 * header in front of the data, in one buffer, so what is needed is read there; where it is not found,
 * the client is asked.
 *
 * Pure.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** One heartbeat as the stream stored it. */
export interface RawMessage {
  readonly sequence: number;
  /** When the stream stored it, ms since the epoch. */
  readonly receivedAt: number;
  readonly bytes: Uint8Array;
}

/** The parts of a NATS message that are read. */
export interface HeadedMessage {
  readonly data: Uint8Array;
  readonly headers?: { last(name: string): string };
}

/** The answer to a direct get. `previous` is the sequence sent before it, 0 for the first. */
export interface StoredMessage extends RawMessage {
  readonly previous: number;
}

const BEGIN = "NATS/1.0\r\n";
const SEQUENCE = "Nats-Sequence";
const TIMESTAMP = "Nats-Time-Stamp";
const PREVIOUS = "Nats-Last-Sequence";

/** Reads `message`. */
export function storedMessage(message: HeadedMessage): StoredMessage {
  const bytes = message.data;
  const header = headerBefore(bytes);
  const sequence = header && valueOf(header, SEQUENCE);
  const timestamp = header && valueOf(header, TIMESTAMP);
  const previous = header && valueOf(header, PREVIOUS);
  const { headers } = sequence && timestamp && previous ? {} : message;
  return {
    sequence: Number(sequence ?? headers?.last(SEQUENCE)),
    receivedAt: millisecondsOf(timestamp ?? headers?.last(TIMESTAMP) ?? ""),
    previous: Number(previous ?? headers?.last(PREVIOUS)),
    bytes,
  };
}

function headerBefore({ buffer, byteOffset }: Uint8Array): string | undefined {
  const before = Buffer.from(buffer, 0, byteOffset);
  const begin = before.lastIndexOf(BEGIN);
  return begin < 0 ? undefined : before.toString("latin1", begin);
}

// The last one counts: the server's own come after those of the publisher.
function valueOf(header: string, name: string): string | undefined {
  const begin = header.lastIndexOf(`\r\n${name}: `);
  if (begin < 0) return undefined;
  const from = begin + name.length + 4;
  return header.slice(from, header.indexOf("\r\n", from));
}

let second = "";
let secondMs = 0;

/**
 * The instant of an RFC 3339 time in UTC with up to nine decimals, ms since the epoch; what is below
 * a millisecond is cut off, as everywhere. NaN for anything else.
 */
export function millisecondsOf(timestamp: string): number {
  // Thousands of messages share a second.
  if (!timestamp.startsWith(second) || second === "") {
    second = timestamp.slice(0, "2026-11-23T00:00:00".length);
    secondMs = Date.parse(`${second}Z`);
  }
  if (!timestamp.endsWith("Z")) return NaN;
  const decimals = timestamp.slice(second.length + 1, -1).slice(0, 3);
  return secondMs + Number(decimals.padEnd(3, "0"));
}
