/**
 * What one raw heartbeat would earn, written a second time from the contract alone.
 *
 * The recount exists to find a mistake in the books, so it shares no rule with what writes them:
 * neither the fast judgement of `shared/event.ts` nor `accrue.ts` nor `business_day.ts`. Only how
 * JSON is read and the schema, which is the contract itself, are the same; the schema decides
 * whatever is not plain at a glance.
 *
 * Pure. Times and durations in ms.
 *
 * @module
 */
import { type Heartbeat, heartbeatSchema } from "../../shared/contract/event.ts";
import { parseJson } from "../../shared/contract/json.ts";

/** The rules that decide about one event. */
export interface RecountRules {
  readonly latenessHorizonMs: number;
  readonly futureToleranceMs: number;
}

/** A heartbeat that counts unless its id came before. */
export interface Earning {
  readonly eventId: string;
  readonly ts: number;
  readonly titleId: string;
  readonly region: string;
  readonly playedMs: number;
  /** What device loss is told by. */
  readonly sessionId: string;
  readonly seq: number;
}

/** Why a heartbeat earns nothing. */
export type Unearned = "unreadable" | "invalid" | "implausible" | "too_late" | "from_the_future";

/** An id may be this much older than the horizon; beyond it, its first copy may be forgotten. */
const ID_ALLOWANCE_MS = 24 * 60 * 60 * 1000;
/** Ids that claim an earlier instant are made up, and no key of one was ever forgotten. */
const IDS_KEPT_SINCE = Date.parse("2026-11-01T00:00:00Z");

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Judges the heartbeat that `bytes` are, received at `receivedAt`. Never throws. */
export function appraise(
  bytes: Uint8Array,
  receivedAt: number,
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
  // Twice the sum, so that the half stays a whole number.
  if (2 * (played_ms + rebuffer_ms) > 3 * interval_ms + 2_000) return "implausible";
  if (ts < receivedAt - latenessHorizonMs) return "too_late";
  if (ts > receivedAt + futureToleranceMs) return "from_the_future";
  const made = instantOf(event_id);
  const forgotten = receivedAt - latenessHorizonMs - ID_ALLOWANCE_MS;
  if (made >= IDS_KEPT_SINCE && made < forgotten) return "too_late";
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
const LONGEST_MS = 600_000;

/**
 * Whether `value` is a heartbeat beyond doubt: printable ASCII, whole numbers, no field of a newer
 * player. The schema is asked about all others; it takes most of a recount's time.
 */
function isPlain(value: unknown): value is Heartbeat {
  // Whatever is not an object has none of these fields.
  const it = (value ?? {}) as Record<string, unknown>;
  const device = (it.device ?? {}) as Record<string, unknown>;
  return it.v === 1 && isText(it.event_id, ID) && STATES.has(it.state) &&
    isText(it.session_id) && isText(it.device_id) && isText(it.title_id) &&
    isText(it.region, REGION) && isWhole(it.seq) && isWhole(it.ts) &&
    isWhole(it.interval_ms, LONGEST_MS) && isWhole(it.played_ms, LONGEST_MS) &&
    isWhole(it.rebuffer_ms) && isWhole(it.rebuffer_count) &&
    isText(device.model) && isText(device.os) && isText(device.build) &&
    (it.media_ms === undefined || isWhole(it.media_ms)) &&
    (it.bitrate_kbps === undefined || isWhole(it.bitrate_kbps)) &&
    (it.cdn === undefined || isText(it.cdn)) && (it.isp === undefined || isText(it.isp));
}

function isText(value: unknown, shape = TEXT): boolean {
  return typeof value === "string" && shape.test(value);
}

function isWhole(value: unknown, most = Number.MAX_SAFE_INTEGER): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most;
}

// The instant in a UUIDv7 (RFC 9562, section 5.7), NaN for every other UUID.
function instantOf(uuid: string): number {
  if (!/^.{8}-.{4}-7.{3}-[89ab]/i.test(uuid)) return NaN;
  return parseInt(uuid.slice(0, 8), 16) * 2 ** 16 + parseInt(uuid.slice(9, 13), 16);
}

/** The days of one zone, by the instants at which they begin. */
export class DayStarts {
  // Events lie within the lateness horizon, so these are a handful.
  readonly #known: { readonly day: string; readonly from: number; readonly until: number }[] = [];

  constructor(readonly zone: string) {}

  /** The first instant of `day`, ms since the epoch. */
  startOf(day: string): number {
    return startOf(Temporal.PlainDate.from(day), this.zone);
  }

  /** The day that `instant` lies in. */
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
 * Writes the 16 bytes of a UUID into `view` at `at`, its end first: that is where ids of one moment
 * differ, and what begins differently sorts fastest.
 */
export function writeId(view: DataView, at: number, uuid: string): void {
  view.setUint32(at, parseInt(uuid.slice(28), 16));
  view.setUint16(at + 4, parseInt(uuid.slice(24, 28), 16));
  view.setUint16(at + 6, parseInt(uuid.slice(19, 23), 16));
  view.setUint16(at + 8, parseInt(uuid.slice(14, 18), 16));
  view.setUint16(at + 10, parseInt(uuid.slice(9, 13), 16));
  view.setUint32(at + 12, parseInt(uuid.slice(0, 8), 16));
}
