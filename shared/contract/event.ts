/**
 * The heartbeat, version 1: its schema, and the judgement of bytes that live and royalty share.
 *
 * Pure: no clock, socket or database. Durations are integer milliseconds.
 *
 * @module
 */
import { Buffer, isAscii } from "node:buffer";
import { z } from "zod";
import { parseJson } from "./json.ts";

/** Maximum size of a heartbeat that the edge accepts, in bytes. */
export const MAX_EVENT_BYTES = 16 * 1024;

/**
 * The reserved title of canaries, the heartbeats that Twofold sends itself: part of no window, total
 * or statement. See `canary/canary.ts`.
 */
export const CANARY_TITLE = "_canary";

// Control characters break terminals and subjects, lone surrogates cannot be stored as UTF-8.
const label = z.string().regex(
  /^[^\p{Cc}\p{Cs}]{1,64}$/u,
  "expected 1 to 64 characters, none of them a control character",
);
/** What a player may be doing. */
export const STATES = [
  "starting",
  "playing",
  "rebuffering",
  "paused",
  "seeking",
  "ad",
  "ended",
] as const;
const interval = z.int().min(0).max(600_000);
const duration = z.int().min(0);

/** Version 1 of the heartbeat. Unknown keys are ignored, because newer players may send more. */
export const heartbeatSchema = z.object({
  v: z.literal(1),
  event_id: z.uuid(),
  session_id: label,
  device_id: label,
  title_id: label,
  seq: z.int().min(0),
  region: z.string().regex(/^[a-z0-9-]{2,32}$/, "expected 2 to 32 of a-z, 0-9 and -"),
  ts: z.int().min(0),
  interval_ms: interval,
  state: z.enum(STATES),
  played_ms: interval,
  rebuffer_ms: duration,
  rebuffer_count: duration,
  media_ms: duration.optional(),
  bitrate_kbps: z.number().min(0).optional(),
  cdn: z.string().optional(),
  isp: z.string().optional(),
  device: z.object({ model: label, os: label, build: label }),
});

/** One playback heartbeat; the table in `ingest/README.md` describes the fields and units. */
export type Heartbeat = z.infer<typeof heartbeatSchema>;

/** Why an event was rejected. {@link judge} finds the first five, royalty the others. */
export const REJECTION_REASONS = [
  "not_utf8",
  "not_json",
  "unsupported_version",
  "malformed",
  "implausible",
  "conflict",
  "too_late",
  "from_the_future",
] as const;
/** One of {@link REJECTION_REASONS}. */
export type RejectionReason = typeof REJECTION_REASONS[number];

/** Why an event cannot be used, with details to find the cause. */
export interface Rejection {
  readonly reason: RejectionReason;
  /** JSON path of the offending value, `$` for the whole event. */
  readonly path: string;
  /** One line: what was expected and what was found. At most 200 characters. */
  readonly detail: string;
  /** `device.build`, if it can be read. */
  readonly build?: string | undefined;
}

/** The outcome of {@link judge}: a usable heartbeat, or why it is rejected. */
export type Judgement =
  | { readonly ok: true; readonly heartbeat: Heartbeat }
  | { readonly ok: false; readonly rejection: Rejection };

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decides whether raw bytes are a usable heartbeat. Never throws. */
export function judge(bytes: Uint8Array): Judgement {
  let text: string;
  try {
    text = decode(bytes);
  } catch {
    return reject("not_utf8", "$", "the bytes are not valid UTF-8");
  }
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (error) {
    return reject("not_json", "$", error instanceof Error ? error.message : String(error));
  }
  return judgeValue(value);
}

// Nearly all heartbeats are ASCII. Decoding ASCII as Latin-1 takes a third of the time, and the
// resulting string is parsed faster.
function decode(bytes: Uint8Array): string {
  if (!isAscii(bytes)) return utf8.decode(bytes);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

function judgeValue(value: unknown): Judgement {
  const heartbeat = acceptFast(value);
  if (!heartbeat) return judgeBySchema(value);
  return isPlausible(heartbeat) ? { ok: true, heartbeat } : implausible(heartbeat);
}

// The slow path, for every value that `acceptFast` does not accept.
function judgeBySchema(value: unknown): Judgement {
  const parsed = heartbeatSchema.safeParse(value);
  if (parsed.success) {
    return isPlausible(parsed.data)
      ? { ok: true, heartbeat: parsed.data }
      : implausible(parsed.data);
  }
  const { path, message } = firstIssue(parsed.error.issues);
  const unsupported = path[0] === "v" && typeof valueAt(value, ["v"]) === "number";
  const reason = unsupported ? "unsupported_version" : "malformed";
  const detail = `${message}; found ${describeValue(valueAt(value, path))}`;
  return reject(reason, jsonPath(path), detail, readBuild(value));
}

function isPlausible({ played_ms, rebuffer_ms, interval_ms }: Heartbeat): boolean {
  return played_ms + rebuffer_ms <= interval_ms * 1.5 + 1000;
}

function implausible(heartbeat: Heartbeat): Judgement {
  const { played_ms, rebuffer_ms, interval_ms } = heartbeat;
  const detail =
    `played_ms ${played_ms} + rebuffer_ms ${rebuffer_ms} exceed interval_ms ${interval_ms} * 1.5 + 1000`;
  return reject("implausible", "$.played_ms", detail, readBuild(heartbeat));
}

const COMMON_UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
const REGION = /^[a-z0-9-]{2,32}$/;

/**
 * The fast path: the same result as {@link heartbeatSchema} for the common values that nearly all
 * players send, undefined for any other value. The schema takes four times as long, which was half
 * of live's CPU time.
 */
function acceptFast(value: unknown): Heartbeat | undefined {
  if (!isRecord(value) || value.v !== 1 || !isRecord(value.device)) return undefined;
  const { event_id, session_id, device_id, title_id, seq, region, ts, interval_ms, state } = value;
  const { played_ms, rebuffer_ms, rebuffer_count, media_ms, bitrate_kbps, cdn, isp } = value;
  const { model, os, build } = value.device;
  if (
    !isText(event_id, COMMON_UUID) || !isText(region, REGION) ||
    !isAsciiLabel(session_id) || !isAsciiLabel(device_id) || !isAsciiLabel(title_id) ||
    !isAsciiLabel(model) || !isAsciiLabel(os) || !isAsciiLabel(build) ||
    !isWhole(seq) || !isWhole(ts) || !isWhole(rebuffer_ms) || !isWhole(rebuffer_count) ||
    !isWhole(played_ms, 600_000) || !isWhole(interval_ms, 600_000) || !isState(state)
  ) return undefined;
  // Like the schema: known keys only, and optional keys only when present.
  const heartbeat: Heartbeat = {
    v: 1,
    event_id,
    session_id,
    device_id,
    title_id,
    seq,
    region,
    ts,
    interval_ms,
    state,
    played_ms,
    rebuffer_ms,
    rebuffer_count,
    device: { model, os, build },
  };
  if (media_ms !== undefined) {
    if (!isWhole(media_ms)) return undefined;
    heartbeat.media_ms = media_ms;
  }
  if (bitrate_kbps !== undefined) {
    if (!isWhole(bitrate_kbps)) return undefined;
    heartbeat.bitrate_kbps = bitrate_kbps;
  }
  if (cdn !== undefined) {
    if (typeof cdn !== "string") return undefined;
    heartbeat.cdn = cdn;
  }
  if (isp !== undefined) {
    if (typeof isp !== "string") return undefined;
    heartbeat.isp = isp;
  }
  return heartbeat;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function isText(value: unknown, form: RegExp): value is string {
  return typeof value === "string" && form.test(value);
}

function isAsciiLabel(text: unknown): text is string {
  if (typeof text !== "string" || text.length === 0 || text.length > 64) return false;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || unit > 0x7e) return false;
  }
  return true;
}

function isWhole(value: unknown, max = Number.MAX_SAFE_INTEGER): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= max;
}

function isState(state: unknown): state is Heartbeat["state"] {
  return state === "playing" || state === "rebuffering" || state === "paused" ||
    state === "starting" || state === "seeking" || state === "ad" || state === "ended";
}

type Issue = Pick<z.core.$ZodIssue, "path" | "message">;

/** For a value that the schema refuses without an issue. */
const NO_ISSUE: Issue = { path: [], message: "expected a heartbeat" };

// An unsupported version explains every other issue, so it is first.
function firstIssue(issues: readonly Issue[]): Issue {
  return issues.find(({ path }) => path[0] === "v") ?? issues[0] ?? NO_ISSUE;
}

function reject(reason: RejectionReason, path: string, detail: string, build?: string): Judgement {
  return { ok: false, rejection: { reason, path, detail: printable(detail), build } };
}

/** `text` cut to 200 characters, with control characters and lone surrogates replaced by U+FFFD. */
export function printable(text: string): string {
  // Cut first, because the cut may split a surrogate pair.
  return text.slice(0, 200).replace(/[\p{Cc}\p{Cs}]/gu, "\uFFFD");
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => isRecord(inner) ? Reflect.get(inner, key) : undefined,
    value,
  );
}

function jsonPath(path: readonly PropertyKey[]): string {
  return ["$", ...path.map(String)].join(".");
}

// The type and, for scalars, the value: `string "4000"`.
function describeValue(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  return `${typeof value} ${JSON.stringify(value).slice(0, 60)}`;
}

function readBuild(value: unknown): string | undefined {
  const build = valueAt(value, ["device", "build"]);
  return typeof build === "string" && build !== "" ? printable(build.slice(0, 64)) : undefined;
}
