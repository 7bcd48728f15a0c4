import { assertEquals } from "@std/assert";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { BusinessCalendar, isDay, isZone, nextDay } from "./business_day.ts";

/** Length of `day` in `zone`, ms, by checking every minute around it. */
function lengthOf(zone: string, day: string): number {
  const calendar = new BusinessCalendar(zone);
  const start = Date.parse(`${day}T00:00:00Z`) - 86_400_000;
  const minutes = Array.from({ length: 3 * 1440 }, (_, i) => start + i * 60_000);
  return minutes.filter((instant) => calendar.dayOf(instant) === day).length * 60_000;
}

Deno.test("UTC days change at midnight, to the millisecond", () => {
  const utc = new BusinessCalendar("UTC");
  const midnight = Date.UTC(2028, 1, 29);
  assertEquals(utc.dayOf(midnight - 1), "2028-02-28");
  assertEquals(utc.dayOf(midnight), "2028-02-29");
  assertEquals(utc.dayOf(midnight + 86_400_000), "2028-03-01");
  assertEquals(utc.dayOf(0), "1970-01-01");
});

Deno.test("a zone's days start at its own midnight", () => {
  const tokyo = new BusinessCalendar("Asia/Tokyo");
  assertEquals(tokyo.dayOf(Date.UTC(2026, 10, 22, 14, 59, 59, 999)), "2026-11-22");
  assertEquals(tokyo.dayOf(Date.UTC(2026, 10, 22, 15)), "2026-11-23");
  const kathmandu = new BusinessCalendar("Asia/Kathmandu");
  assertEquals(kathmandu.dayOf(Date.UTC(2026, 10, 22, 18, 14, 59, 999)), "2026-11-22");
  assertEquals(kathmandu.dayOf(Date.UTC(2026, 10, 22, 18, 15)), "2026-11-23");
});

Deno.test("daylight saving makes days of 23 and 25 hours", () => {
  assertEquals(lengthOf("Europe/Berlin", "2026-03-29"), 23 * 3_600_000);
  assertEquals(lengthOf("Europe/Berlin", "2026-10-25"), 25 * 3_600_000);
  assertEquals(lengthOf("Europe/Berlin", "2026-10-26"), 24 * 3_600_000);
  assertEquals(lengthOf("Australia/Lord_Howe", "2026-04-05"), 24.5 * 3_600_000);
  // Santiago springs forward at midnight: the day begins at 01:00.
  assertEquals(lengthOf("America/Santiago", "2026-09-06"), 23 * 3_600_000);
});

Deno.test("cached days equal the days that Intl computes", () => {
  const random = propertyRandom("business day against Intl");
  for (const zone of ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"]) {
    const calendar = new BusinessCalendar(zone);
    const iso = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short" });
    for (let i = 0; i < 12_000; i++) {
      const instant = Date.UTC(2026, 0, 1) + random.int(0, 366 * 86_400) * 1000;
      assertEquals(calendar.dayOf(instant), iso.format(instant));
    }
  }
});

Deno.test("isDay and isZone accept only real days and zones", () => {
  for (const day of ["2026-11-22", "2028-02-29", "0001-01-01"]) assertEquals(isDay(day), true, day);
  for (const day of ["2026-02-29", "2026-13-01", "22.11.2026", "2026-1-1", "", "today"]) {
    assertEquals(isDay(day), false, day);
  }
  assertEquals([isZone("Europe/Berlin"), isZone("Europe/Bonn"), isZone("")], [true, false, false]);
});

Deno.test("a day ends where the next one begins, also when clocks change", () => {
  const hours = (zone: string, day: string) => {
    const calendar = new BusinessCalendar(zone);
    const before = new Date(Date.parse(day) - 86_400_000).toISOString().slice(0, 10);
    return (calendar.endOf(day) - calendar.endOf(before)) / 3_600_000;
  };
  assertEquals(new BusinessCalendar("UTC").endOf("2028-02-29"), Date.UTC(2028, 2, 1));
  assertEquals(hours("Europe/Berlin", "2026-03-29"), 23);
  assertEquals(hours("Europe/Berlin", "2026-10-25"), 25);
  assertEquals(hours("America/New_York", "2026-11-01"), 25);
  assertEquals(hours("Australia/Lord_Howe", "2026-04-05"), 24.5);
  assertEquals(hours("America/Santiago", "2026-09-06"), 23);
  // Samoa crossed the date line and skipped 30 December.
  assertEquals(hours("Pacific/Apia", "2011-12-30"), 0);
  // In Newfoundland clocks went back from 00:01 to 23:01, so the day ended twice.
  assertEquals(hours("America/St_Johns", "2010-11-06"), 25);
});

Deno.test("the last millisecond before a day's end is in the day, the next one is not", () => {
  const random = propertyRandom("ends of days");
  for (const zone of ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati"]) {
    const calendar = new BusinessCalendar(zone);
    for (let i = 0; i < 40; i++) {
      const instant = Date.UTC(2026, 0, 1) + random.int(0, 3 * 366 * 86_400) * 1000;
      const day = calendar.dayOf(instant);
      const end = calendar.endOf(day);
      assertEquals([calendar.dayOf(end - 1), calendar.dayOf(end)], [day, nextDay(day)]);
    }
  }
});

Deno.test("nextDay handles month ends and leap years", () => {
  assertEquals(nextDay("2028-02-28"), "2028-02-29");
  assertEquals(nextDay("2028-02-29"), "2028-03-01");
  assertEquals(nextDay("2027-02-28"), "2027-03-01");
  assertEquals(nextDay("2100-02-28"), "2100-03-01");
  assertEquals(nextDay("2026-12-31"), "2027-01-01");
});
