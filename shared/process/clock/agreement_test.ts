import { assertEquals, assertThrows } from "@std/assert";
import { propertyRandom } from "../../dev/testing/random.ts";
import { Refused } from "../errors.ts";
import { agreedMs, agreementOf, type ClockReading, MAX_DIFFERENCE_MS } from "./agreement.ts";

const OWN_MS = Date.UTC(2026, 10, 26, 12);
const HOUR_MS = 3_600_000;

/** A clock `aheadMs` of the own one, told within `tookMs`. */
function reading(name: string, aheadMs: number, tookMs = 4): ClockReading {
  return { name, ms: OWN_MS + aheadMs - tookMs / 2, askedMs: OWN_MS - tookMs, answeredMs: OWN_MS };
}

Deno.test("clocks agree within a minute; what they agree on is the earliest", () => {
  const agreement = agreementOf(
    [reading("Postgres", -50_000), reading("HEARTBEATS", 3_000)],
    OWN_MS,
  );
  assertEquals(agreement.difference, undefined);
  assertEquals(agreedMs(agreement), OWN_MS - 50_002);
});

Deno.test("of three clocks the one that lies is named, whichever it is", () => {
  const text = (postgresMs: number, streamMs: number) =>
    agreementOf([reading("Postgres", postgresMs), reading("HEARTBEATS", streamMs)], OWN_MS)
      .difference;
  assertEquals(
    text(-26 * HOUR_MS, -26 * HOUR_MS),
    "the clock of this process is 26 h ahead of that of Postgres",
  );
  assertEquals(
    text(12 * 24 * HOUR_MS, 0),
    "the clock of Postgres is 12 days ahead of that of HEARTBEATS",
  );
  assertEquals(text(0, -HOUR_MS), "the clock of HEARTBEATS is 60 min behind that of Postgres");
});

Deno.test("with two clocks the own one is the suspect, and none is confirmed", () => {
  const agreement = agreementOf([reading("HEARTBEATS", HOUR_MS)], OWN_MS);
  assertEquals(
    agreement.difference,
    "the clock of this process is 60 min behind that of HEARTBEATS",
  );
  assertEquals([agreement.nowMs, agreement.earliestMs], [OWN_MS + HOUR_MS, OWN_MS]);
  assertEquals(agreement.confirmed, []);
  const refused = assertThrows(() => agreedMs(agreement), Refused);
  assertEquals(refused.message.startsWith("clocks differ: the clock of this process"), true);
});

Deno.test("a slow answer, a frozen process and a clock that is set meanwhile are no difference", () => {
  const slow = { name: "Postgres", ms: OWN_MS - HOUR_MS, askedMs: OWN_MS - HOUR_MS };
  assertEquals(agreementOf([{ ...slow, answeredMs: OWN_MS }], OWN_MS).difference, undefined);
  const setBack = { name: "Postgres", ms: OWN_MS, askedMs: OWN_MS + HOUR_MS, answeredMs: OWN_MS };
  assertEquals(agreementOf([setBack], OWN_MS).difference, undefined);
});

Deno.test("property: clocks that agree are never later than the truth if one of them is right", () => {
  const random = propertyRandom("agreed clocks are not ahead of the right one");
  for (let i = 0; i < 5_000; i++) {
    const trueAheadMs = random.int(-2 * MAX_DIFFERENCE_MS, 2 * MAX_DIFFERENCE_MS);
    const others = Array.from(
      { length: random.int(0, 3) },
      (_, j) =>
        reading(
          `s${j}`,
          random.int(-2 * MAX_DIFFERENCE_MS, 2 * MAX_DIFFERENCE_MS),
          random.int(0, 90_000),
        ),
    );
    const agreement = agreementOf([...others, reading("right", trueAheadMs)], OWN_MS);
    assertEquals(agreement.earliestMs <= OWN_MS + trueAheadMs, true);
    if (agreement.difference !== undefined) assertThrows(() => agreedMs(agreement), Refused);
  }
});
