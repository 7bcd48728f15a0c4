/**
 * What a message of QUARANTINE says: where it came from, why it was rejected, which group it is in.
 *
 * Pure, and total: whatever the headers and the body hold, there is an entry to keep.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { printable } from "../shared/contract/event.ts";
import { parseJson } from "../shared/contract/json.ts";
import { QUARANTINE, QUARANTINE_HEADER } from "../shared/contract/topology.ts";

/** One message of the QUARANTINE stream. */
export interface Arrival {
  readonly subject: string;
  /** The heartbeat exactly as the device sent it. */
  readonly bytes: Uint8Array;
  /** Position in QUARANTINE. */
  readonly sequence: number;
  /** When QUARANTINE stored it, ms since the epoch. */
  readonly quarantinedAt: number;
  /** By name, decoded; undefined when they could not be parsed at all. */
  readonly headers: ReadonlyMap<string, string> | undefined;
}

/** What entries with the same cause share. */
export interface Group {
  /** Twelve hex digits, the same for the same reason, path and build everywhere and always. */
  readonly groupId: string;
  /** A rejection reason, or {@link UNREADABLE}. */
  readonly reason: string;
  /** JSON path of the offending value. */
  readonly path: string;
  /** `device.build`, or {@link UNKNOWN_BUILD}. */
  readonly build: string;
}

/** A classified arrival; times are ms since the epoch. */
export interface Entry {
  readonly group: Group;
  readonly detail: string;
  readonly sourceStream: string;
  readonly sourceSequence: number;
  /** The durable that rejected it. */
  readonly rejectedBy: string;
  /** When Twofold received the heartbeat from the device. */
  readonly receivedAt: number;
  readonly quarantinedAt: number;
  readonly subject: string;
  readonly deviceId: string | undefined;
  readonly bytes: Uint8Array;
}

/** The reason of an entry whose headers do not say what they must. */
export const UNREADABLE = "unreadable";
/** The build of an entry that names none. */
export const UNKNOWN_BUILD = "unknown";

/** Classifies one message; never throws. */
export function classify(arrival: Arrival): Entry {
  const { subject, bytes, quarantinedAt } = arrival;
  const body = readBody(bytes);
  const source = readHeaders(arrival);
  const build = label(arrival.headers?.get(QUARANTINE_HEADER.build)) ?? body.build;
  return {
    group: groupOf(source.reason, source.path, build ?? UNKNOWN_BUILD),
    detail: source.detail,
    sourceStream: source.stream,
    sourceSequence: source.sequence,
    rejectedBy: source.rejectedBy,
    receivedAt: source.receivedAt,
    quarantinedAt,
    subject: printable(subject),
    deviceId: body.deviceId,
    bytes,
  };
}

/** The group of a reason, path and build. */
export function groupOf(reason: string, path: string, build: string): Group {
  // As JSON, so that no choice of the three can look like another.
  const identity = JSON.stringify([reason, path, build]);
  const groupId = createHash("sha256").update(identity).digest("hex").slice(0, 12);
  return { groupId, reason, path, build };
}

interface Source {
  readonly reason: string;
  readonly path: string;
  readonly detail: string;
  readonly stream: string;
  readonly sequence: number;
  readonly rejectedBy: string;
  readonly receivedAt: number;
}

const REASON = /^[a-z][a-z0-9_]{0,63}$/;
const STREAM = /^[A-Za-z0-9_-]{1,64}$/;
// Fifteen digits are always a safe integer.
const DIGITS = /^\d{1,15}$/;

// All or nothing: half of a source would point a person at the wrong heartbeat.
function readHeaders(arrival: Arrival): Source {
  if (!arrival.headers) return unreadable(arrival, "the headers cannot be parsed");
  const get = (name: string) => arrival.headers?.get(name) ?? "";
  const required = [
    [QUARANTINE_HEADER.reason, REASON],
    [QUARANTINE_HEADER.stream, STREAM],
    [QUARANTINE_HEADER.sequence, DIGITS],
    [QUARANTINE_HEADER.receivedAt, DIGITS],
  ] as const;
  const wrong = required.filter(([name, form]) => !form.test(get(name)));
  if (wrong.length > 0) {
    const came = wrong.map(([name]) => `${name} is ${JSON.stringify(get(name).slice(0, 40))}`);
    return unreadable(arrival, came.join(", "));
  }
  return {
    reason: get(QUARANTINE_HEADER.reason),
    path: printable(get(QUARANTINE_HEADER.path)) || "$",
    detail: printable(get(QUARANTINE_HEADER.detail)),
    stream: get(QUARANTINE_HEADER.stream),
    sequence: Number(get(QUARANTINE_HEADER.sequence)),
    rejectedBy: label(get(QUARANTINE_HEADER.rejectedBy)) ?? "unknown",
    receivedAt: Number(get(QUARANTINE_HEADER.receivedAt)),
  };
}

// The quarantine itself is then the only source that is known.
function unreadable(arrival: Arrival, why: string): Source {
  return {
    reason: UNREADABLE,
    path: "$",
    detail: printable(why),
    stream: QUARANTINE,
    sequence: arrival.sequence,
    rejectedBy: "unknown",
    receivedAt: arrival.quarantinedAt,
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
    // Broken JSON comes from a build too: a truncated heartbeat mostly still names it.
    return {
      build: label(/"build"\s*:\s*"([^"\\]{1,64})"/.exec(text)?.[1]),
      deviceId: label(/"device_id"\s*:\s*"([^"\\]{1,64})"/.exec(text)?.[1]),
    };
  }
}

function label(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? printable(value.slice(0, 64)) : undefined;
}
