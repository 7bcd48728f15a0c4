/**
 * Where the key of a counted event is kept, and when it may be forgotten.
 *
 * A UUIDv7 says when it was made. Its key lies in the partition of that day, so a day of keys goes by
 * dropping one table. That is exact for ever, whatever `ts` an event claims:
 *
 * 1. An id's place depends on the id alone, so every copy of it meets the same key.
 * 2. An event whose id was made more than {@link idAgeLimitMs} before its receipt is refused as
 *    `too_late`. For an honest player that changes nothing: `ts` is at most a day after the id was
 *    made, so `ts` is too late by then as well.
 * 3. Receipt times of a stream do not run backwards by a day. So once every stream is read to more
 *    than that limit and a day behind an id, each event that could still carry the id is refused:
 *    the key is not asked for again, and may go.
 *
 * An id that claims to be older than {@link KEYS_SINCE_MS}, when no books were kept yet, is made up: a
 * clock that was never set. Nothing of that time was ever forgotten, so rule 2 spares it; its key is
 * kept for ever, with those of ids that claim a time to come, until that time has come.
 *
 * Nothing tells the age of another UUID, and the random bits of a v4 that look like a time say
 * nothing. These have a table of their own, and are forgotten only when a setting says so.
 *
 * Pure. Instants are ms since the epoch, days are numbered from there, in UTC.
 *
 * @module
 */
const DAY_MS = 86_400_000;
/** No books are older, so no key of an id made before was ever forgotten. */
export const KEYS_SINCE_MS = Date.UTC(2026, 10, 1);
/** Days for which partitions are made before they are needed. */
const AHEAD_DAYS = 3;
/** A stream keeps raw events for three days, so this far back ids still arrive in numbers. */
const BEHIND_DAYS = 4;

/** When `eventId` was made, ms, if it is a UUIDv7 (RFC 9562, lower case); else undefined. */
export function madeAt(eventId: string): number | undefined {
  const variant = eventId[19];
  if (eventId[14] !== "7" || variant === undefined || !"89ab".includes(variant)) return undefined;
  return parseInt(eventId.slice(0, 8) + eventId.slice(9, 13), 16);
}

/** How old an id may be when its event is received, ms: an honest one is no more than a day older than `ts`. */
export function idAgeLimitMs(latenessHorizonMs: number): number {
  return latenessHorizonMs + DAY_MS;
}

/**
 * The age of an id at its receipt, ms, if its key may have been forgotten by then; else undefined.
 * An event with such an id is refused: nobody can tell whether it was counted before.
 */
export function forgettableAgeMs(
  eventId: string,
  receivedAt: number,
  latenessHorizonMs: number,
): number | undefined {
  const made = madeAt(eventId);
  if (made === undefined || made < KEYS_SINCE_MS) return undefined;
  const age = receivedAt - made;
  return age > idAgeLimitMs(latenessHorizonMs) ? age : undefined;
}

/** The least UUID made on or after the start of `day`: where its partition begins. */
export function firstIdOf(day: number): string {
  const time = (day * DAY_MS).toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-0000-0000-000000000000`;
}

/** The day that `instant` falls on. */
export function dayNumber(instant: number): number {
  return Math.floor(instant / DAY_MS);
}

/** The UTC date of `day`, `YYYY-MM-DD`. */
export function dateOf(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

/** Which days' partitions to make and to drop. */
export interface KeyPlan {
  readonly make: readonly number[];
  readonly drop: readonly number[];
  /** Keys of ids made before this day may be forgotten; undefined while that cannot be said. */
  readonly forgetBefore: number | undefined;
}

/**
 * What the partitions need at `now`.
 *
 * @param kept days that have a partition
 * @param readTo receipt time that every stream is read to; undefined while one was never read
 */
export function planKeys(
  kept: readonly number[],
  { now, readTo, latenessHorizonMs }: {
    readonly now: number;
    readonly readTo: number | undefined;
    readonly latenessHorizonMs: number;
  },
): KeyPlan {
  const today = dayNumber(now);
  const sound = readTo === undefined ? undefined : Math.min(readTo, now);
  const forgetBefore = sound === undefined
    ? undefined
    : Math.max(dayNumber(sound - idAgeLimitMs(latenessHorizonMs) - DAY_MS), FIRST_DAY);
  const from = Math.max(today - BEHIND_DAYS, forgetBefore ?? FIRST_DAY, FIRST_DAY);
  const wanted = Array.from({ length: today + AHEAD_DAYS - from + 1 }, (_, i) => from + i);
  return {
    make: wanted.filter((day) => !kept.includes(day)),
    drop: kept.filter((day) => forgetBefore !== undefined && day < forgetBefore),
    forgetBefore,
  };
}

const FIRST_DAY = dayNumber(KEYS_SINCE_MS);
