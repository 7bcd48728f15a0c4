/**
 * Parses a message as a direct get returns it: the bytes, and headers with sequence and receipt.
 *
 * Having the client parse all headers doubled the time of reading. The client keeps the header in
 * front of the data in one buffer, so the three headers needed are read there directly; when they
 * are not found, the headers that the client parsed are used.
 *
 * Pure.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** One message as the stream stored it. */
export interface RawMessage {
  readonly sequence: number;
  /** Receipt: when the stream stored it, ms since the epoch. */
  readonly receivedAtMs: number;
  readonly bytes: Uint8Array;
}

/** The fields of a NATS message that are read. */
export interface HeadedMessage {
  readonly data: Uint8Array;
  readonly headers?: { last(name: string): string };
}

/** A message of a batched direct get. `previous` is the sequence sent before it, 0 for the first. */
export interface StoredMessage extends RawMessage {
  readonly previous: number;
}

const BEGIN = "NATS/1.0\r\n";
const SEQUENCE = "Nats-Sequence";
const TIMESTAMP = "Nats-Time-Stamp";
const PREVIOUS = "Nats-Last-Sequence";

/** Parses `message`. Headers that are missing give NaN. */
export function storedMessage(message: HeadedMessage): StoredMessage {
  const bytes = message.data;
  const header = headerBefore(bytes);
  const sequence = header && valueOf(header, SEQUENCE);
  const timestamp = header && valueOf(header, TIMESTAMP);
  const previous = header && valueOf(header, PREVIOUS);
  const { headers } = sequence && timestamp && previous ? {} : message;
  return {
    sequence: Number(sequence ?? headers?.last(SEQUENCE)),
    receivedAtMs: millisecondsOf(timestamp ?? headers?.last(TIMESTAMP) ?? ""),
    previous: Number(previous ?? headers?.last(PREVIOUS)),
    bytes,
  };
}

/** The message id with which `message` was published, if it is in its header. */
export function publishedId({ bytes }: RawMessage): string | undefined {
  const header = headerBefore(bytes);
  return header && valueOf(header, "Nats-Msg-Id");
}

function headerBefore({ buffer, byteOffset }: Uint8Array): string | undefined {
  const before = Buffer.from(buffer, 0, byteOffset);
  const begin = before.lastIndexOf(BEGIN);
  return begin < 0 ? undefined : before.toString("latin1", begin);
}

// The last one is the server's: its headers come after those of the publisher.
function valueOf(header: string, name: string): string | undefined {
  const begin = header.lastIndexOf(`\r\n${name}: `);
  if (begin < 0) return undefined;
  const from = begin + name.length + 4;
  return header.slice(from, header.indexOf("\r\n", from));
}

// Cache: the second parsed last, because thousands of messages share one.
let cached = { second: "", ms: 0 };

/**
 * Parses an RFC 3339 time in UTC with up to nine decimals to ms since the epoch, truncated. NaN for
 * anything else.
 */
export function millisecondsOf(timestamp: string): number {
  if (!timestamp.startsWith(cached.second) || cached.second === "") {
    const second = timestamp.slice(0, "2026-11-23T00:00:00".length);
    cached = { second, ms: Date.parse(`${second}Z`) };
  }
  if (!timestamp.endsWith("Z")) return NaN;
  const decimals = timestamp.slice(cached.second.length + 1, -1).slice(0, 3);
  return cached.ms + Number(decimals.padEnd(3, "0"));
}
