/**
 * The business day of an instant, in the zone the books are kept in.
 *
 * Pure. Instants are ms since the epoch, days are `YYYY-MM-DD`.
 *
 * @module
 */
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Zones lie at most 14 hours from UTC; looked at with some to spare. */
const FURTHEST_ZONE_MS = 15 * 3_600_000;
/** Minutes remembered: a week at one a minute is 10,080, so events within the horizon fit. */
const REMEMBERED_MINUTES = 20_000;

/** Whether `name` is a time zone this runtime knows. */
export function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** Whether `text` is a day of the calendar, written `YYYY-MM-DD`. */
export function isDay(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const instant = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(instant) && new Date(instant).toISOString().startsWith(text);
}

/** The day after `day`. */
export function nextDay(day: string): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + DAY_MS).toISOString().slice(0, 10);
}

/** Tells days in one zone: 23 and 25 hour days included, whatever the zone's rules were then. */
export class BusinessCalendar {
  readonly #format: Intl.DateTimeFormat;
  // Zone rules change on whole minutes, so a minute lies within one day. Asking Intl costs a
  // microsecond; events arrive thousands to the minute.
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

  /** The day that `instant` falls on. */
  dayOf(instant: number): string {
    const minute = Math.floor(instant / MINUTE_MS);
    const known = this.#dayOfMinute.get(minute);
    if (known !== undefined) return known;
    const day = this.#ask(minute * MINUTE_MS);
    if (this.#dayOfMinute.size >= REMEMBERED_MINUTES) this.#dayOfMinute.clear();
    this.#dayOfMinute.set(minute, day);
    return day;
  }

  /**
   * The first instant after `day`: 23 to 25 hours after its start. Where a zone has left the day out,
   * the instant at which the day before ended.
   */
  endOf(day: string): number {
    // Backwards, because a clock that is set back just after midnight shows the day twice.
    let minute = Date.parse(`${day}T00:00:00Z`) + DAY_MS + FURTHEST_ZONE_MS;
    while (this.#ask(minute - MINUTE_MS) > day) minute -= MINUTE_MS;
    return minute;
  }

  #ask(instant: number): string {
    const parts = this.#format.formatToParts(instant);
    const part = (type: string) => {
      const found = parts.find((each) => each.type === type);
      if (found === undefined) throw new Error(`a day in ${this.zone} is written without ${type}`);
      return found.value;
    };
    return `${part("year").padStart(4, "0")}-${part("month")}-${part("day")}`;
  }
}
