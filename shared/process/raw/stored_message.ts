/**
 * Parses a message as a direct get returns it: the bytes, and headers with sequence and receipt.
 *
 * The headers needed are read from the bytes in front of the data; when they are not found there, the
 * headers that the client parsed are used.
 *
 * Pure.
 *
 * @module
 */
import { eventsOf } from "../../contract/delivery/frame.ts";
import { headerBefore, headerValueOf } from "../../contract/delivery/header_text.ts";
import { ENDS_HEADER } from "../../contract/topology.ts";

/** One message as the stream stored it. */
export interface RawMessage {
  readonly sequence: number;
  /** Receipt: when the stream stored it, ms since the epoch. */
  readonly receivedAtMs: number;
  readonly bytes: Uint8Array;
}

/** A heartbeat in a message: `bytes` are its own, `index` is its place in the message, from 0. */
export interface RawEvent extends RawMessage {
  readonly index: number;
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

const SEQUENCE = "Nats-Sequence";
const TIMESTAMP = "Nats-Time-Stamp";
const PREVIOUS = "Nats-Last-Sequence";

/** Parses `message`. Headers that are missing give NaN. */
export function storedMessage(message: HeadedMessage): StoredMessage {
  const bytes = message.data;
  const header = headerBefore(bytes);
  const sequence = header && headerValueOf(header, SEQUENCE);
  const timestamp = header && headerValueOf(header, TIMESTAMP);
  const previous = header && headerValueOf(header, PREVIOUS);
  const { headers } = sequence && timestamp && previous ? {} : message;
  return {
    sequence: Number(sequence ?? headers?.last(SEQUENCE)),
    receivedAtMs: millisecondsOf(timestamp ?? headers?.last(TIMESTAMP) ?? ""),
    previous: Number(previous ?? headers?.last(PREVIOUS)),
    bytes,
  };
}

/** The heartbeats in `message`, in their order. */
export function rawEventsIn({ bytes: body, sequence, receivedAtMs }: RawMessage): RawEvent[] {
  const header = headerBefore(body);
  const ends = header && headerValueOf(header, ENDS_HEADER);
  return eventsOf(body, ends)
    .map((bytes, index) => ({ bytes, sequence, index, receivedAtMs }));
}

/** The message id with which `message` was published, if it is in its header. */
export function publishedId({ bytes }: RawMessage): string | undefined {
  const header = headerBefore(bytes);
  return header && headerValueOf(header, "Nats-Msg-Id");
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
