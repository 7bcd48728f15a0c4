import { assert, assertEquals } from "@std/assert";
import { propertyRandom, Random } from "../../shared/dev/testing/random.ts";
import {
  dateOf,
  dayNumber,
  droppableAgeMs,
  firstIdOf,
  forgottenBefore,
  KEYS_SINCE_MS,
  madeAt,
  planKeys,
} from "./event_key.ts";

const DAY_MS = 86_400_000;
const NOW = Date.UTC(2026, 10, 22, 12);
const HORIZON_MS = 7 * DAY_MS;
const day = (date: string) => dayNumber(Date.parse(date));

Deno.test("madeAt reads the time of a UUIDv7 and of no other UUID", () => {
  assertEquals(madeAt(new Random(1).uuidv7(NOW)), NOW);
  for (
    const id of [
      "00000000-0000-0000-0000-000000000000",
      "ffffffff-ffff-ffff-ffff-ffffffffffff",
      "019aabcd-0000-4000-8000-000000000000",
      "019aabcd-0000-1000-8000-000000000000",
      // Another variant than that of RFC 9562.
      "019aabcd-0000-7000-c000-000000000000",
    ]
  ) assertEquals(madeAt(id), undefined, id);
});

Deno.test("the ids of a day are within the bounds of its partition", () => {
  const random = propertyRandom("ids lie in the partition of their day");
  for (let i = 0; i < 1_000; i++) {
    const instant = random.int(0, 200) * DAY_MS + KEYS_SINCE_MS + random.pick([0, 1, DAY_MS - 1]);
    const id = random.uuidv7(instant);
    const made = dayNumber(instant);
    assert(firstIdOf(made) <= id && id < firstIdOf(made + 1), id);
  }
});

Deno.test("partitions are made from four days ago to three days ahead", () => {
  const fresh = planKeys([], { now: NOW, readTo: undefined, latenessHorizonMs: HORIZON_MS });
  assertEquals([fresh.make.map(dateOf)[0], fresh.make.map(dateOf).at(-1)], [
    "2026-11-18",
    "2026-11-25",
  ]);
  assertEquals(fresh.drop, undefined);
  const again = planKeys(fresh.make, { now: NOW, readTo: NOW, latenessHorizonMs: HORIZON_MS });
  assertEquals([again.make, again.drop], [[], undefined]);
});

Deno.test("a partition is dropped when every stream is two days past the horizon of its day", () => {
  const kept = ["2026-11-12", "2026-11-13", "2026-11-14"].map(day);
  const dropped = (readTo: string) =>
    planKeys(kept, {
      now: Date.parse("2026-12-24T00:00:00Z"),
      readTo: Date.parse(readTo),
      latenessHorizonMs: HORIZON_MS,
    }).drop;
  assertEquals(dropped("2026-11-21T23:59:59.999Z"), undefined);
  assertEquals(dropped("2026-11-22T00:00:00.000Z"), day("2026-11-12"));
  // One stream that is behind keeps every partition.
  assertEquals(dropped("2026-11-01T00:00:00.000Z"), undefined);
  const ahead = planKeys(kept.slice(1), {
    now: NOW,
    readTo: Date.parse("2030-01-01"),
    latenessHorizonMs: HORIZON_MS,
  });
  assertEquals(ahead.drop, undefined, "a receipt time in the future drops nothing more");
});

Deno.test("an event whose key a plan drops is refused from then on", () => {
  const random = propertyRandom("events of dropped keys are refused");
  for (let i = 0; i < 5_000; i++) {
    const latenessHorizonMs = random.int(60_000, 40 * DAY_MS);
    const readTo = KEYS_SINCE_MS + random.int(0, 400 * DAY_MS);
    // The newest day that may be dropped is somewhere among the last.
    const kept = [dayNumber(readTo) - random.int(0, 50)];
    const { drop } = planKeys(kept, {
      now: readTo + random.int(0, 4 * DAY_MS),
      readTo,
      latenessHorizonMs,
    });
    if (drop === undefined) continue;
    const end = (drop + 1) * DAY_MS;
    if (end <= KEYS_SINCE_MS) continue;
    // The last id of the dropped days, received as early as possible: clocks may differ by a day.
    const id = random.uuidv7(end - 1);
    const receivedAtMs = readTo - DAY_MS + random.int(0, 3 * DAY_MS);
    assert(droppableAgeMs(id, receivedAtMs, latenessHorizonMs) !== undefined, id);
    assert(forgottenBefore({ v7Ms: end, otherMs: 0 })(id, readTo), id);
  }
});

Deno.test("a round drops one day, the oldest, however far ahead the clocks are", () => {
  const lying = {
    now: NOW + 12 * DAY_MS,
    readTo: NOW + 12 * DAY_MS,
    latenessHorizonMs: HORIZON_MS,
  };
  const kept = Array.from({ length: 9 }, (_, i) => dayNumber(NOW) - i);
  assertEquals(planKeys(kept, lying).drop, dayNumber(NOW) - 8);
  // Keys that have no partition count as well.
  assertEquals(planKeys(kept, { ...lying, oldest: dayNumber(NOW) - 10 }).drop, dayNumber(NOW) - 10);
  assertEquals(planKeys([], lying).drop, undefined, "new books forget nothing");
});

Deno.test("ids are forgotten by their day, but none from before the books", () => {
  const random = new Random(1);
  const midnightMs = NOW - (NOW % DAY_MS);
  const isForgotten = forgottenBefore({ v7Ms: midnightMs, otherMs: midnightMs - DAY_MS });
  const last = NOW - (NOW % DAY_MS) - 1;
  const made = [last, last + 1, KEYS_SINCE_MS, KEYS_SINCE_MS - 1];
  assertEquals(made.map((ms) => isForgotten(random.uuidv7(ms), NOW)), [true, false, true, false]);
  // Without a time in the id, that of the event decides.
  const times = [midnightMs - DAY_MS - 1, midnightMs - DAY_MS];
  assertEquals(times.map((ts) => isForgotten(crypto.randomUUID(), ts)), [true, false]);
});

Deno.test("ids made before the first books or in the future are not refused for their age", () => {
  const random = new Random(1);
  const age = (made: number) => droppableAgeMs(random.uuidv7(made), NOW, HORIZON_MS);
  assertEquals(age(0), undefined);
  assertEquals(age(KEYS_SINCE_MS - 1), undefined);
  assertEquals(age(KEYS_SINCE_MS), NOW - KEYS_SINCE_MS);
  assertEquals(age(NOW - HORIZON_MS - DAY_MS), undefined, "exactly at the limit");
  assertEquals(age(NOW + 400 * DAY_MS), undefined);
  assertEquals(
    droppableAgeMs("019aabcd-0000-4000-8000-000000000000", NOW, HORIZON_MS),
    undefined,
  );
});
