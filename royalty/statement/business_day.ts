/**
 * The business day of an instant, in the time zone of the books.
 *
 * Pure. Instants are ms since the epoch, days are `YYYY-MM-DD`.
 *
 * @module
 */
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** No zone is more than 14 hours from UTC; one hour of margin. */
const MAX_ZONE_OFFSET_MS = 15 * 3_600_000;
/** Size of the cache. A week has 10,080 minutes, so the events within the horizon fit. */
const MAX_CACHED_MINUTES = 20_000;

/** Whether `name` is a time zone that this runtime knows. */
export function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** Whether `text` is a calendar day, written `YYYY-MM-DD`. */
export function isDay(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const instant = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(instant) && new Date(instant).toISOString().startsWith(text);
}

/** The calendar day after `day`, both `YYYY-MM-DD`. */
export function nextDay(day: string): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + DAY_MS).toISOString().slice(0, 10);
}

/**
 * Days of one time zone, by the rules that the zone had at each instant; days of 23 and 25 hours
 * included. The constructor throws `RangeError` for a zone that {@link isZone} refuses.
 */
export class BusinessCalendar {
  readonly #format: Intl.DateTimeFormat;
  // Zone rules change on whole minutes, so a minute lies within one day. A call of Intl takes a
  // microsecond, and thousands of events share a minute.
  readonly #dayOfMinute = new Map<number, string>();

  constructor(readonly zone: string) {
    this.#format = new Intl.DateTimeFormat("en", {
      timeZone: zone,
      calendar: "gregory",
      numberingSystem: "latn",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
    });
  }

  /** The day of `instant` (ms since the epoch), `YYYY-MM-DD`. */
  dayOf(instant: number): string {
    const minute = Math.floor(instant / MINUTE_MS);
    const cached = this.#dayOfMinute.get(minute);
    if (cached !== undefined) return cached;
    const day = this.#computeDay(minute * MINUTE_MS);
    if (this.#dayOfMinute.size >= MAX_CACHED_MINUTES) this.#dayOfMinute.clear();
    this.#dayOfMinute.set(minute, day);
    return day;
  }

  /**
   * The first instant after `day` (ms since the epoch). For a day that the zone skipped, the instant
   * at which the day before it ended.
   */
  endOf(day: string): number {
    // Searched backwards: when clocks go back just after midnight, the same day ends twice.
    let minute = Date.parse(`${day}T00:00:00Z`) + DAY_MS + MAX_ZONE_OFFSET_MS;
    while (this.#computeDay(minute - MINUTE_MS) > day) minute -= MINUTE_MS;
    return minute;
  }

  #computeDay(instant: number): string {
    const parts = this.#format.formatToParts(instant);
    const part = (type: string) => {
      const found = parts.find((each) => each.type === type);
      if (found === undefined) {
        throw new Error(`Intl formats a day in ${this.zone} without ${type}`);
      }
      return found.value;
    };
    return `${part("year").padStart(4, "0")}-${part("month")}-${part("day")}`;
  }
}
