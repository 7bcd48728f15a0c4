/**
 * Admission: which events a request body holds, and the stream, subject and message id of each.
 * Reads only the fields that routing needs; the consumers judge whether an event is usable.
 *
 * Pure: no clock, socket or NATS.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { type Heartbeat, MAX_EVENT_BYTES } from "../shared/contract/event.ts";
import { fnv1a, fnv1aText } from "../shared/contract/hash.ts";
import { parseJson } from "../shared/contract/json.ts";
import { heartbeatSubject, NO_REGION, partitionOf } from "../shared/contract/topology.ts";
import { type Framing, split } from "./split.ts";

/** An event with its destination. */
export interface RoutedEvent {
  /** The bytes exactly as the device sent them; a view of the request body. */
  readonly bytes: Uint8Array;
  readonly partition: number;
  readonly subject: string;
  /**
   * `Nats-Msg-Id` of a message with this event alone: the same for a byte-identical retry, different
   * for different bytes. Computed when it is read.
   */
  readonly msgId: string;
  /** A hash of the device, 32 bits unsigned; of the bytes when it cannot be read. */
  readonly device: number;
}

/** Options of {@link admit}. */
export interface AdmitOptions {
  /** Number of HEARTBEATS streams. */
  readonly partitions: number;
  readonly maxEvents: number;
}

/** The routed events of a body in order, or why the body is refused. */
export type Admission =
  | { readonly kind: "admitted"; readonly events: readonly RoutedEvent[] }
  | { readonly kind: "no_events" }
  | { readonly kind: "too_many_events" }
  | { readonly kind: "event_too_large"; readonly index: number; readonly bytes: number };

/** Splits `body` and routes its events: all of them, or none when a limit is exceeded. */
export function admit(body: Uint8Array, framing: Framing, options: AdmitOptions): Admission {
  const { maxEvents, partitions } = options;
  const found = split(body, framing, { maxEvents, maxEventBytes: MAX_EVENT_BYTES });
  if (found.kind !== "events") return found;
  if (found.events.length === 0) return { kind: "no_events" };
  const text = asciiText(body);
  const events = found.events.map((bytes) => {
    const at = bytes.byteOffset - body.byteOffset;
    return route(bytes, text?.slice(at, at + bytes.length) ?? textOf(bytes), partitions);
  });
  return { kind: "admitted", events };
}

/** `canary` as the edge stores it: an event that no reader counts, of so many bytes. */
export function probeEvent(canary: Heartbeat, partitions: number, bytes: number): RoutedEvent {
  const text = JSON.stringify(canary).padEnd(bytes);
  return route(new TextEncoder().encode(text), text, partitions);
}

// Decoding has a cost per call. If every byte is one character, one call decodes all events.
function asciiText(body: Uint8Array): string | undefined {
  const text = textOf(body);
  return text?.length === body.length ? text : undefined;
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

const REGION = /^[a-z0-9-]{2,32}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Routes one event; `text` is undefined when the bytes are not UTF-8. Never throws. */
function route(bytes: Uint8Array, text: string | undefined, partitions: number): RoutedEvent {
  const { event_id, session_id, device_id, region } = text === undefined
    ? UNREADABLE
    : readFields(text);
  const partition = typeof session_id === "string" ? partitionOf(session_id, partitions) : 0;
  const isRegion = typeof region === "string" && REGION.test(region);
  return {
    bytes,
    partition,
    subject: heartbeatSubject(partition, isRegion ? region : NO_REGION),
    // Most events are stored in a message with others, which has an id of its own.
    get msgId() {
      return messageId(bytes, event_id);
    },
    device: typeof device_id === "string" ? fnv1aText(device_id) : fnv1a(bytes),
  };
}

function messageId(bytes: Uint8Array, eventId: unknown): string {
  const isId = typeof eventId === "string" && UUID.test(eventId);
  return isId ? `${eventId.toLowerCase()}.${hex8(fnv1a(bytes))}` : rawId(bytes);
}

interface RoutingFields {
  readonly event_id?: unknown;
  readonly session_id?: unknown;
  readonly device_id?: unknown;
  readonly region?: unknown;
}

const UNREADABLE: RoutingFields = {};

// With the same parser as the consumers: for a repeated key, both use the last value.
function readFields(text: string): RoutingFields {
  try {
    const value = parseJson(text);
    return typeof value === "object" && value !== null ? value : UNREADABLE;
  } catch {
    return UNREADABLE;
  }
}

function rawId(bytes: Uint8Array): string {
  return `raw.${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}`;
}

function hex8(hash: number): string {
  return hash.toString(16).padStart(8, "0");
}
