/**
 * Judges one raw heartbeat for the recount. A second implementation, from the contract alone.
 *
 * The recount exists to find mistakes in the books, so it shares no rule with posting: neither the
 * fast judgement of `shared/contract/event.ts`, nor `accrue.ts`, nor `business_day.ts`. Shared are
 * only the JSON reader and the schema, which is the contract itself. A fast check accepts plain
 * heartbeats; the schema decides about all others.
 *
 * Pure. Times and durations in ms.
 *
 * @module
 */
import { CANARY_TITLE, type Heartbeat, heartbeatSchema } from "../../shared/contract/event.ts";
import { parseJson } from "../../shared/contract/json.ts";

/** The rules by which one event is judged. */
export interface RecountRules {
  /** Maximum age at receipt, ms. */
  readonly latenessHorizonMs: number;
  /** Maximum time ahead of receipt, ms. */
  readonly futureToleranceMs: number;
}

/** A usable heartbeat, which counts unless its id occurred before. */
export interface Earning {
  readonly eventId: string;
  /** Ms since the epoch. */
  readonly ts: number;
  readonly titleId: string;
  readonly region: string;
  readonly playedMs: number;
  /** With `seq`, for the estimate of device loss. */
  readonly sessionId: string;
  readonly seq: number;
}

/** Why a heartbeat is not credited. */
export type Unearned =
  | "unreadable"
  | "invalid"
  | "implausible"
  /** Sent by Twofold itself, or in its name. */
  | "canary"
  | "too_late"
  | "from_the_future";

/** An id may be older than the horizon by this much; beyond it, its key may have been dropped. */
const ID_ALLOWANCE_MS = 24 * 60 * 60 * 1000;
/** No key was dropped before this instant, so ids with an earlier one are accepted. */
const FIRST_KEY_MS = Date.parse("2026-11-01T00:00:00Z");

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Judges the heartbeat in `bytes`, received at `receivedAtMs` (ms since the epoch). Never throws. */
export function appraise(
  bytes: Uint8Array,
  receivedAtMs: number,
  { latenessHorizonMs, futureToleranceMs }: RecountRules,
): Earning | Unearned {
  let value: unknown;
  try {
    value = parseJson(decoder.decode(bytes));
  } catch {
    return "unreadable";
  }
  const heartbeat = isPlain(value) ? value : heartbeatSchema.safeParse(value).data;
  if (!heartbeat) return "invalid";
  const { event_id, ts, title_id, region, played_ms, rebuffer_ms, interval_ms } = heartbeat;
  // Both sides are doubled, so that one and a half intervals is a whole number.
  if (2 * (played_ms + rebuffer_ms) > 3 * interval_ms + 2_000) return "implausible";
  if (title_id === CANARY_TITLE) return "canary";
  if (ts < receivedAtMs - latenessHorizonMs) return "too_late";
  if (ts > receivedAtMs + futureToleranceMs) return "from_the_future";
  const madeMs = instantOf(event_id);
  const droppedBeforeMs = receivedAtMs - latenessHorizonMs - ID_ALLOWANCE_MS;
  if (madeMs >= FIRST_KEY_MS && madeMs < droppedBeforeMs) return "too_late";
  return {
    eventId: event_id,
    ts,
    titleId: title_id,
    region,
    playedMs: played_ms,
    sessionId: heartbeat.session_id,
    seq: heartbeat.seq,
  };
}

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
const REGION = /^[a-z0-9-]{2,32}$/;
const TEXT = /^[ -~]{1,64}$/;
const STATES: ReadonlySet<unknown> = new Set(heartbeatSchema.shape.state.options);
const MAX_INTERVAL_MS = 600_000;

/**
 * Whether `value` is certainly a valid heartbeat: printable ASCII, whole numbers. A fast check before
 * the schema, which would take most of the time of a recount.
 */
function isPlain(value: unknown): value is Heartbeat {
  if (!isRecord(value) || !isRecord(value.device)) return false;
  const it = value;
  const device = value.device;
  return it.v === 1 && isText(it.event_id, ID) && STATES.has(it.state) &&
    isText(it.session_id) && isText(it.device_id) && isText(it.title_id) &&
    isText(it.region, REGION) && isWhole(it.seq) && isWhole(it.ts) &&
    isWhole(it.interval_ms, MAX_INTERVAL_MS) && isWhole(it.played_ms, MAX_INTERVAL_MS) &&
    isWhole(it.rebuffer_ms) && isWhole(it.rebuffer_count) &&
    isText(device.model) && isText(device.os) && isText(device.build) &&
    (it.media_ms === undefined || isWhole(it.media_ms)) &&
    (it.bitrate_kbps === undefined || isWhole(it.bitrate_kbps)) &&
    (it.cdn === undefined || isText(it.cdn)) && (it.isp === undefined || isText(it.isp));
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function isText(value: unknown, shape = TEXT): boolean {
  return typeof value === "string" && shape.test(value);
}

function isWhole(value: unknown, max = Number.MAX_SAFE_INTEGER): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max;
}

// The instant in a UUIDv7 (RFC 9562, section 5.7), NaN for every other UUID.
function instantOf(uuid: string): number {
  if (!/^.{8}-.{4}-7.{3}-[89ab]/i.test(uuid)) return NaN;
  return parseInt(uuid.slice(0, 8), 16) * 2 ** 16 + parseInt(uuid.slice(9, 13), 16);
}

/** The days of one time zone, from the instants at which they begin (by `Temporal`). */
export class DayStarts {
  // Events are within the lateness horizon, so there are only a few.
  readonly #known: { readonly day: string; readonly from: number; readonly until: number }[] = [];

  constructor(readonly zone: string) {}

  /** The first instant of `day`, ms since the epoch. */
  startOf(day: string): number {
    return startOf(Temporal.PlainDate.from(day), this.zone);
  }

  /** The day of `instant` (ms since the epoch), `YYYY-MM-DD`. */
  dayOf(instant: number): string {
    const known = this.#known.find(({ from, until }) => instant >= from && instant < until);
    if (known) return known.day;
    const date = Temporal.Instant.fromEpochMilliseconds(instant)
      .toZonedDateTimeISO(this.zone).toPlainDate();
    const day = date.toString();
    const from = startOf(date, this.zone);
    this.#known.unshift({ day, from, until: startOf(date.add({ days: 1 }), this.zone) });
    return day;
  }
}

function startOf(date: Temporal.PlainDate, zone: string): number {
  return date.toZonedDateTime(zone).epochMilliseconds;
}

/**
 * Writes the 16 bytes of a UUID to `view` at offset `at`, the last group first. UUIDv7 of the same
 * time differ at the end, and records that differ in their first bytes sort fastest.
 */
export function writeId(view: DataView, at: number, uuid: string): void {
  view.setUint32(at, parseInt(uuid.slice(28), 16));
  view.setUint16(at + 4, parseInt(uuid.slice(24, 28), 16));
  view.setUint16(at + 6, parseInt(uuid.slice(19, 23), 16));
  view.setUint16(at + 8, parseInt(uuid.slice(14, 18), 16));
  view.setUint16(at + 10, parseInt(uuid.slice(9, 13), 16));
  view.setUint32(at + 12, parseInt(uuid.slice(0, 8), 16));
}
