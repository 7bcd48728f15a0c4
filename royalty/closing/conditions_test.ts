import { assertEquals, assertStringIncludes } from "@std/assert";
import { differences } from "../statement/day_line.ts";
import {
  type BooksState,
  type CloseRequest,
  nextToClose,
  obstaclesTo,
  refusalText,
} from "./conditions.ts";
import type { DayLine } from "../statement/day_line.ts";

const HOUR_MS = 3_600_000;
const DUE = Date.UTC(2026, 10, 23, 1);
const REQUEST: CloseRequest = { day: "2026-11-22", asOfMs: DUE, nowMs: DUE, due: DUE };
const READ = { stream: "HEARTBEATS", lastSeq: 10, lastReceivedAtMs: DUE, endSeq: 12 };
const BOOKS: BooksState = {
  oldestOpenDay: "2026-11-22",
  firstCreditedDay: undefined,
  streams: [READ],
  openGaps: [],
};

function reasons(request: Partial<CloseRequest>, books: Partial<BooksState>): string[] {
  return obstaclesTo({ ...REQUEST, ...request }, { ...BOOKS, ...books }).map((each) => each.reason);
}

Deno.test("a day may close from its end plus grace on, to the millisecond", () => {
  assertEquals(reasons({}, {}), []);
  assertEquals(reasons({ asOfMs: DUE - 1 }, {}), [
    "as of 2026-11-23T00:59:59.999Z it is not over: its end plus grace is " +
    "2026-11-23T01:00:00.000Z",
  ]);
});

Deno.test("every stream has to be read past the day's end plus grace, or to its own end", () => {
  const early = { ...READ, lastReceivedAtMs: DUE - 1 };
  assertEquals(reasons({}, { streams: [READ, { ...early, endSeq: 10 }] }), []);
  assertEquals(reasons({}, { streams: [{ ...early, endSeq: 9 }] }), []);
  const behind = { ...early, stream: "HEARTBEATS_1" };
  assertEquals(reasons({}, { streams: [READ, behind, { ...early, endSeq: undefined }] }), [
    "HEARTBEATS_1 is posted up to sequence 10, at 2026-11-23T00:59:59.999Z, and its lag is 2",
    "HEARTBEATS is posted up to sequence 10, at 2026-11-23T00:59:59.999Z, and its lag is unknown " +
    "without NATS",
  ]);
  const never = { stream: "HEARTBEATS_2", lastSeq: 0, lastReceivedAtMs: 0, endSeq: 0 };
  assertEquals(reasons({}, { streams: [never] }), []);
});

Deno.test("a receipt in the future does not prove that the day was read", () => {
  const streams = [{ ...READ, lastReceivedAtMs: DUE + 26 * HOUR_MS }];
  assertEquals(reasons({}, { streams }), [
    "HEARTBEATS is posted up to sequence 10, at 2026-11-24T03:00:00.000Z, and its lag is 2",
  ]);
  assertEquals(reasons({}, { streams: [{ ...READ, lastReceivedAtMs: DUE + 59_000 }] }), []);
});

Deno.test("a day cannot close over open gaps; the message says how to settle them", () => {
  const openGaps = Array.from({ length: 7 }, (_, i) => ({
    stream: "HEARTBEATS",
    firstSeq: 10 * i + 1,
    lastSeq: 10 * i + 5,
  }));
  const obstacles = obstaclesTo(REQUEST, { ...BOOKS, openGaps });
  assertEquals(obstacles.length, 6);
  const text = refusalText("2026-11-22", obstacles);
  assertStringIncludes(text, "royalty settle-gap --stream HEARTBEATS --first 1 --by PERSON");
  assertStringIncludes(text, "2 more gaps are open");
});

Deno.test("days close in order, from the first day with credits on", () => {
  assertEquals(reasons({ day: "2026-11-23" }, {}), [
    "days close in order, and 2026-11-22 is still open",
  ]);
  assertEquals(reasons({ day: "2026-11-21" }, {}), ["it is before the first statement"]);
  const fresh = { oldestOpenDay: undefined, firstCreditedDay: "2026-11-20" };
  assertEquals(reasons({}, fresh), [
    "minutes are credited to 2026-11-20, and no statement would contain them",
  ]);
  assertEquals(reasons({ day: "2026-11-20" }, fresh), []);
  assertEquals(reasons({ day: "2026-11-01" }, fresh), []);
  assertEquals(reasons({ day: "2016-11-20" }, fresh), [
    "it would be the first statement, more than a year ago",
  ]);
  assertEquals(reasons({}, { oldestOpenDay: undefined }), []);
  assertEquals(nextToClose(BOOKS), "2026-11-22");
  assertEquals(nextToClose({ oldestOpenDay: undefined, firstCreditedDay: undefined }), undefined);
});

Deno.test("a future day is refused although it is the oldest open day", () => {
  const [reason] = reasons(
    { day: "2030-01-01", due: DUE + HOUR_MS },
    { oldestOpenDay: "2030-01-01" },
  );
  assertEquals(reason?.includes("it is not over"), true);
});

Deno.test("differences reports every line in which books and recount differ", () => {
  const line = (titleId: string, events: bigint, msWatched: bigint): DayLine => ({
    eventDay: "2026-11-22",
    titleId,
    territory: "de",
    events,
    msWatched,
  });
  const books = [line("a", 1n, 10n), line("b", 2n, 20n), line("c", 3n, 30n)];
  assertEquals(differences(books, books.toReversed()), []);
  assertEquals(differences(books, [line("a", 1n, 11n), line("b", 2n, 20n), line("d", 0n, 0n)]), [
    "2026-11-22 de a: the books have 1 events and 10 ms, the recount 1 events and 11 ms",
    "2026-11-22 de c: the books have 3 events and 30 ms, the recount nothing",
    "2026-11-22 de d: the books have nothing, the recount 0 events and 0 ms",
  ]);
});
