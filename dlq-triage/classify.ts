/**
 * Classifies a message of QUARANTINE: its source, the reason of its rejection, its group.
 *
 * Pure and total: any headers and any body give an entry.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { printable } from "../shared/contract/event.ts";
import { parseJson } from "../shared/contract/json.ts";
import { QUARANTINE, QUARANTINE_HEADER } from "../shared/contract/topology.ts";

/** One message of the QUARANTINE stream. */
export interface QuarantineMessage {
  readonly subject: string;
  /** The heartbeat exactly as the device sent it. */
  readonly bytes: Uint8Array;
  /** Sequence in QUARANTINE. */
  readonly sequence: number;
  /** When QUARANTINE stored it, ms since the epoch. */
  readonly quarantinedAt: number;
  /** Decoded values by name; undefined when the headers cannot be parsed. */
  readonly headers: ReadonlyMap<string, string> | undefined;
}

/** The cause that the entries of a group share. */
export interface Group {
  /** Twelve hex digits: a hash of reason, path and build, the same on every installation. */
  readonly groupId: string;
  /** A rejection reason, or {@link UNREADABLE}. */
  readonly reason: string;
  /** JSON path of the offending value. */
  readonly path: string;
  /** `device.build`, or {@link UNKNOWN_BUILD}. */
  readonly build: string;
}

/** A classified message; times are ms since the epoch. */
export interface Entry {
  readonly group: Group;
  readonly detail: string;
  readonly sourceStream: string;
  readonly sourceSequence: number;
  /** Its place in the message of the stream, from 0. */
  readonly sourceIndex: number;
  /** The durable that rejected it. */
  readonly rejectedBy: string;
  /** When Twofold received the heartbeat from the device. */
  readonly receivedAtMs: number;
  readonly quarantinedAt: number;
  readonly subject: string;
  readonly deviceId: string | undefined;
  readonly bytes: Uint8Array;
}

/** The reason of an entry whose required headers are missing or invalid. */
export const UNREADABLE = "unreadable";
/** The build of an entry without one. */
export const UNKNOWN_BUILD = "unknown";

/** Classifies one message; never throws. */
export function classify(message: QuarantineMessage): Entry {
  const { subject, bytes, quarantinedAt } = message;
  const body = readBody(bytes);
  const source = readHeaders(message);
  const build = label(message.headers?.get(QUARANTINE_HEADER.build)) ?? body.build;
  return {
    group: groupOf(source.reason, source.path, build ?? UNKNOWN_BUILD),
    detail: source.detail,
    sourceStream: source.stream,
    sourceSequence: source.sequence,
    sourceIndex: source.index,
    rejectedBy: source.rejectedBy,
    receivedAtMs: source.receivedAtMs,
    quarantinedAt,
    subject: printable(subject),
    deviceId: body.deviceId,
    bytes,
  };
}

/** The group of a reason, path and build; its id is 12 hex digits of their SHA-256. */
export function groupOf(reason: string, path: string, build: string): Group {
  // As JSON, so that different triples never have the same text.
  const identity = JSON.stringify([reason, path, build]);
  const groupId = createHash("sha256").update(identity).digest("hex").slice(0, 12);
  return { groupId, reason, path, build };
}

/** Path and build of the group of what has no group of its own; a path begins with `$` otherwise. */
export const OVERFLOW = "*";

/** The group of the entries of `reason` that are beyond the limit of groups. */
export function overflowOf(reason: string): Group {
  return groupOf(reason, OVERFLOW, OVERFLOW);
}

interface Source {
  readonly reason: string;
  readonly path: string;
  readonly detail: string;
  readonly stream: string;
  readonly sequence: number;
  readonly index: number;
  readonly rejectedBy: string;
  readonly receivedAtMs: number;
}

const REASON = /^[a-z][a-z0-9_]{0,63}$/;
const STREAM = /^[A-Za-z0-9_-]{1,64}$/;
// Up to 15 digits are always a safe integer.
const DIGITS = /^\d{1,15}$/;
const INDEX = /^\d{1,3}$/;

// All or nothing: a partial source could point to the wrong heartbeat.
function readHeaders(message: QuarantineMessage): Source {
  if (!message.headers) return unreadable(message, "the headers cannot be parsed");
  const get = (name: string) => message.headers?.get(name) ?? "";
  // Copies of before a message could hold several heartbeats have none.
  const index = get(QUARANTINE_HEADER.index) || "0";
  const required: [name: string, form: RegExp][] = [
    [QUARANTINE_HEADER.reason, REASON],
    [QUARANTINE_HEADER.stream, STREAM],
    [QUARANTINE_HEADER.sequence, DIGITS],
    [QUARANTINE_HEADER.receivedAt, DIGITS],
  ];
  const invalid = required.filter(([name, form]) => !form.test(get(name)));
  if (!INDEX.test(index)) invalid.push([QUARANTINE_HEADER.index, INDEX]);
  if (invalid.length > 0) {
    const values = invalid.map(([name]) => `${name} is ${JSON.stringify(get(name).slice(0, 40))}`);
    return unreadable(message, values.join(", "));
  }
  return {
    reason: get(QUARANTINE_HEADER.reason),
    path: printable(get(QUARANTINE_HEADER.path)) || "$",
    detail: printable(get(QUARANTINE_HEADER.detail)),
    stream: get(QUARANTINE_HEADER.stream),
    sequence: Number(get(QUARANTINE_HEADER.sequence)),
    index: Number(index),
    rejectedBy: label(get(QUARANTINE_HEADER.rejectedBy)) ?? "unknown",
    receivedAtMs: Number(get(QUARANTINE_HEADER.receivedAt)),
  };
}

// The only known source is then the message in QUARANTINE itself.
function unreadable(message: QuarantineMessage, why: string): Source {
  return {
    reason: UNREADABLE,
    path: "$",
    detail: printable(why),
    stream: QUARANTINE,
    sequence: message.sequence,
    index: 0,
    rejectedBy: "unknown",
    receivedAtMs: message.quarantinedAt,
  };
}

interface Body {
  readonly build: string | undefined;
  readonly deviceId: string | undefined;
}

function readBody(bytes: Uint8Array): Body {
  const text = new TextDecoder().decode(bytes);
  try {
    const value = parseJson(text) as { device?: { build?: unknown }; device_id?: unknown } | null;
    return { build: label(value?.device?.build), deviceId: label(value?.device_id) };
  } catch {
    // Invalid JSON, such as a truncated heartbeat, often still contains the build.
    return {
      build: label(/"build"\s*:\s*"([^"\\]{1,64})"/.exec(text)?.[1]),
      deviceId: label(/"device_id"\s*:\s*"([^"\\]{1,64})"/.exec(text)?.[1]),
    };
  }
}

function label(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? printable(value.slice(0, 64)) : undefined;
}
