/**
 * Admission: what of a request body is landed, and where. Inspects no more than routing needs;
 * whether an event is a good heartbeat is for the consumers to judge.
 *
 * Pure: no clock, socket or NATS.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { MAX_EVENT_BYTES } from "../shared/contract/event.ts";
import { fnv1a } from "../shared/contract/hash.ts";
import { parseJson } from "../shared/contract/json.ts";
import { heartbeatSubject, NO_REGION, partitionOf } from "../shared/contract/topology.ts";
import { type Framing, split } from "./split.ts";

/** One event on its way to its stream. */
export interface RoutedEvent {
  /** Exactly as the device sent them; a view of the request body. */
  readonly bytes: Uint8Array;
  readonly partition: number;
  readonly subject: string;
  /** `Nats-Msg-Id`: a byte-identical retry has the same one, other content another. */
  readonly msgId: string;
}

export interface AdmitOptions {
  readonly partitions: number;
  readonly maxEvents: number;
}

export type Admission =
  | { readonly kind: "admitted"; readonly events: readonly RoutedEvent[] }
  | { readonly kind: "no_events" }
  | { readonly kind: "too_many_events" }
  | { readonly kind: "event_too_large"; readonly index: number; readonly bytes: number };

/** Splits `body` and routes its events: all of them, or none when one breaks a limit. */
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

// Decoding costs mostly per call. Where every byte is one character, one call does for all events.
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

/** Where one event goes; `text` is undefined where the bytes are not UTF-8. Never throws. */
function route(bytes: Uint8Array, text: string | undefined, partitions: number): RoutedEvent {
  const { event_id, session_id, region } = text === undefined ? UNREADABLE : readFields(text);
  const partition = typeof session_id === "string" ? partitionOf(session_id, partitions) : 0;
  const isRegion = typeof region === "string" && REGION.test(region);
  const isId = typeof event_id === "string" && UUID.test(event_id);
  return {
    bytes,
    partition,
    subject: heartbeatSubject(partition, isRegion ? region : NO_REGION),
    msgId: isId ? `${event_id.toLowerCase()}.${hex8(fnv1a(bytes))}` : rawId(bytes),
  };
}

interface RoutingFields {
  readonly event_id?: unknown;
  readonly session_id?: unknown;
  readonly region?: unknown;
}

const UNREADABLE: RoutingFields = {};

// As the consumers do: of a key that comes twice both then see the last.
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
