/**
 * Which partition the key of a counted event belongs to, and when it may be dropped.
 *
 * A UUIDv7 contains the time at which it was made. Its key is in the partition of that day, so a day
 * of keys is deleted by dropping one partition. This never lets an event count twice, whatever its
 * `ts`:
 *
 * 1. The partition depends on the id alone, so every copy of an id finds the same key.
 * 2. An event whose id was made more than {@link idAgeLimitMs} before its receipt is refused as
 *    `too_late`. A correct player is not affected: its `ts` is at most a day after the id was made,
 *    so `ts` is too late by then as well.
 * 3. Receipt times of a stream do not go back by a day or more. Once every stream was read to more
 *    than that limit plus a day after an id was made, every event that still has the id is refused.
 *    The key is not looked up again and may be dropped.
 * 4. Should clocks have lied and a day been dropped too early all the same, {@link forgottenBefore}
 *    refuses its ids by what was dropped, not by any clock.
 *
 * An id made before {@link KEYS_SINCE_MS}, when there were no books yet, has a wrong time, such as from
 * a clock that was never set. No keys of that time were dropped, so rule 2 does not apply to it, and
 * its key is kept forever. Keys of ids with a time in the future are kept until that time has come.
 *
 * Other UUIDs do not contain a time. Their keys have a table of their own and are deleted only when a
 * setting says so; then rule 4 goes by the `ts` of the event.
 *
 * Pure. Instants are ms since the epoch, days are numbered from there, in UTC.
 *
 * @module
 */
const DAY_MS = 86_400_000;
/** No books are older, so keys of ids made before this instant were never dropped. */
export const KEYS_SINCE_MS = Date.UTC(2026, 10, 1);
/** Days for which partitions are made in advance. */
const AHEAD_DAYS = 3;
/** Days in the past for which partitions are made: streams keep raw events for three days. */
const BEHIND_DAYS = 4;

/**
 * When `eventId` was made (ms since the epoch), if it is a UUIDv7 (RFC 9562, section 5.7) in lower
 * case; otherwise undefined.
 */
export function madeAt(eventId: string): number | undefined {
  const variant = eventId[19];
  if (eventId[14] !== "7" || variant === undefined || !"89ab".includes(variant)) return undefined;
  return parseInt(eventId.slice(0, 8) + eventId.slice(9, 13), 16);
}

/** Maximum age of an id at receipt, ms: a correct id is at most a day older than `ts`. */
export function idAgeLimitMs(latenessHorizonMs: number): number {
  return latenessHorizonMs + DAY_MS;
}

/**
 * The age of an id at its receipt, ms, if its key may have been dropped by then; otherwise undefined.
 * An event with such an id is refused, because it is unknown whether it was counted before.
 */
export function droppableAgeMs(
  eventId: string,
  receivedAtMs: number,
  latenessHorizonMs: number,
): number | undefined {
  const made = madeAt(eventId);
  if (made === undefined || made < KEYS_SINCE_MS) return undefined;
  const age = receivedAtMs - made;
  return age > idAgeLimitMs(latenessHorizonMs) ? age : undefined;
}

/** The smallest UUIDv7 made on `day`: the lower bound of its partition. */
export function firstIdOf(day: number): string {
  const time = (day * DAY_MS).toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-0000-0000-000000000000`;
}

/** From which days on keys are kept, ms since the epoch. */
export interface KeptSince {
  /** Those of UUIDv7 made since then, or before {@link KEYS_SINCE_MS}. */
  readonly v7Ms: number;
  /** Those of other ids, of events whose `ts` is since then. */
  readonly otherMs: number;
}

/**
 * Tells of an id, in lower case, and the `ts` of its event, whether the key may have been dropped.
 */
export function forgottenBefore(
  { v7Ms, otherMs }: KeptSince,
): (eventId: string, ts: number) => boolean {
  // Compared as text, because almost every id is a new one.
  const [from, to] = [firstIdOf(FIRST_DAY), firstIdOf(dayNumber(v7Ms))];
  return (eventId, ts) => {
    if (ts >= otherMs && (eventId >= to || eventId < from)) return false;
    return madeAt(eventId) === undefined ? ts < otherMs : eventId >= from && eventId < to;
  };
}

/** The number of the UTC day of `instant`. */
export function dayNumber(instant: number): number {
  return Math.floor(instant / DAY_MS);
}

/** The UTC date of `day`, `YYYY-MM-DD`. */
export function dateOf(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

/** The days whose partitions are to be made, and the one whose keys are to be dropped. */
export interface KeyPlan {
  readonly make: readonly number[];
  /** The oldest day with a partition or with keys; undefined while it is needed. */
  readonly drop: number | undefined;
}

/**
 * Plans the partitions at `now`. At most one day is dropped, the oldest, so that a clock that is wrong
 * for an hour forgets little.
 *
 * @param kept days that have a partition
 * @param oldest the oldest day with a key in the default partition; undefined: there is none
 * @param readTo receipt time up to which every stream was read; undefined while one was never read
 */
export function planKeys(
  kept: readonly number[],
  { now, readTo, oldest, latenessHorizonMs }: {
    readonly now: number;
    readonly oldest?: number | undefined;
    readonly readTo: number | undefined;
    readonly latenessHorizonMs: number;
  },
): KeyPlan {
  const today = dayNumber(now);
  // A receipt time in the future, from a wrong clock, must not drop keys early.
  const readUntil = readTo === undefined ? undefined : Math.min(readTo, now);
  const neededFrom = readUntil === undefined
    ? FIRST_DAY
    : Math.max(dayNumber(readUntil - idAgeLimitMs(latenessHorizonMs) - DAY_MS), FIRST_DAY);
  const from = Math.max(today - BEHIND_DAYS, neededFrom);
  const made = Array.from({ length: today + AHEAD_DAYS - from + 1 }, (_, i) => from + i);
  const oldestKept = Math.min(...kept, oldest ?? Infinity);
  return {
    make: made.filter((day) => !kept.includes(day)),
    drop: oldestKept < neededFrom ? oldestKept : undefined,
  };
}

const FIRST_DAY = dayNumber(KEYS_SINCE_MS);
