import { assert, assertEquals, assertExists, assertRejects, assertThrows } from "@std/assert";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { propertyRandom, Random } from "../../shared/dev/testing/random.ts";
import { Refused } from "../../shared/process/errors.ts";
import { toJson } from "../../shared/process/cli/json_output.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { accrue, settle } from "../posting/accrue.ts";
import { BusinessCalendar, nextDay } from "../statement/business_day.ts";
import { type DayLine, lineKey } from "../statement/day_line.ts";
import type { RawEvent } from "../../shared/process/raw/stored_message.ts";
import { recount, type Recounted, type RecountTask } from "./recount.ts";
import { appraise, DayStarts, writeId } from "./appraise.ts";
import {
  agrees,
  compareLines,
  recountFacts,
  type RecountReport,
  recountText,
  totals,
} from "./report.ts";
import { completeSince } from "./sources.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NOON = Date.UTC(2026, 10, 22, 12);
const RULES = { latenessHorizonMs: 7 * DAY_MS, futureToleranceMs: 300_000 };
const ZONE = "UTC";

/** A stream in memory, and the close of each day: the sequence it was posted up to. */
interface Model {
  readonly events: RawEvent[];
  readonly seals: Map<string, number>;
}

// Wrong clocks, late events, retries, ids in upper case, reused ids, and malformed bytes.
function nextBytes(random: Random, receivedAtMs: number, sent: Heartbeat[]): Uint8Array {
  const ts = receivedAtMs - random.int(-400_000, 400_000) -
    (random.chance(0.3) ? random.int(0, 8 * DAY_MS) : 0);
  const fresh = aHeartbeat(random, ts, {
    played_ms: random.int(0, 16_500),
    title_id: random.pick(["a", "b c", 'a,"b"', "ü"]),
  });
  const earlier = sent.length > 0 ? random.pick(sent) : fresh;
  switch (random.int(0, 11)) {
    case 0:
    case 1:
      return encode(earlier);
    case 2:
      return encode({ ...earlier, event_id: earlier.event_id.toUpperCase() });
    case 3:
      return encode({ ...earlier, played_ms: random.int(0, 16_000), ts });
    case 4:
      return random.pick([
        new Uint8Array([0xff, 0x7b]),
        new Uint8Array([0xef, 0xbb, 0xbf, ...encode(fresh)]),
        encode({ ...fresh, ts: String(ts) }),
        encode({ ...fresh, v: 2 }),
        encode({ ...fresh, event_id: "not an id" }),
        new TextEncoder().encode('{"v":1,'),
        new Uint8Array(),
      ]);
    default:
      sent.push(fresh);
      return encode(fresh);
  }
}

function aModel(random: Random, days: readonly string[]): Model {
  const model: Model = { events: [], seals: new Map() };
  const sent: Heartbeat[] = [];
  const [firstDay] = days;
  assertExists(firstDay);
  let receivedAtMs = Date.parse(firstDay) - 2 * HOUR_MS;
  // Sequences beyond 32 bits too.
  let sequence = random.chance(0.5) ? 0 : 2 ** 32 - 40;
  for (const day of days) {
    const closes = Date.parse(day) + DAY_MS + random.int(0, 3) * HOUR_MS;
    while (receivedAtMs < closes) {
      sequence += random.chance(0.02) ? random.int(2, 5) : 1;
      for (let index = 0; index === 0 || random.chance(0.5); index++) {
        const bytes = nextBytes(random, receivedAtMs, sent);
        model.events.push({ sequence, index, receivedAtMs, bytes });
      }
      receivedAtMs += random.int(0, 2 * HOUR_MS / 5);
    }
    model.seals.set(day, sequence);
  }
  return model;
}

function taskOf(model: Model, day: string, folder: string, runRecords = 64): RecountTask {
  const before = new Date(Date.parse(day) - DAY_MS).toISOString().slice(0, 10);
  const through = model.seals.get(day) ?? Infinity;
  const events = model.events.filter(({ sequence }) => sequence <= through);
  const source = {
    stream: "HEARTBEATS",
    through,
    closedThrough: model.seals.get(before),
    completeSinceMs: -Infinity,
    read: async function* () {
      for (let at = 0; at < events.length; at += 50) yield events.slice(at, at + 50);
    },
  };
  return { day, zone: ZONE, rules: RULES, sources: [source], folder, runRecords };
}

/** A model of posting: batches, a table of ids, days that close in between. */
function postedBooks(
  random: Random,
  model: Model,
  days: readonly string[],
): Map<string, DayLine[]> {
  const calendar = new BusinessCalendar(ZONE);
  const rules = { ...RULES, dayOf: (instant: number) => calendar.dayOf(instant) };
  const known = new Map<string, number>();
  const books = new Map<string, Map<string, DayLine>>();
  let open: string | undefined;
  let at = 0;
  for (const day of [...days, undefined]) {
    const until = day === undefined ? Infinity : model.seals.get(day);
    assertExists(until);
    const end = model.events.filter(({ sequence }) => sequence <= until).length;
    while (at < end) {
      const batch = model.events.slice(at, Math.min(at + random.int(1, 40), end));
      at += batch.length;
      const { claims } = accrue(batch, rules);
      const { counted, credits } = settle(claims, known, open);
      for (const { eventId, fingerprint } of counted) known.set(eventId, fingerprint);
      for (const { recognisedDay, eventDay, titleId, region, events, playedMs } of credits) {
        const lines = books.get(recognisedDay) ?? new Map<string, DayLine>();
        const line = { eventDay, titleId, territory: region };
        const had = lines.get(lineKey(line)) ?? { events: 0n, msWatched: 0n };
        const sums = {
          events: had.events + BigInt(events),
          msWatched: had.msWatched + BigInt(playedMs),
        };
        books.set(recognisedDay, lines.set(lineKey(line), { ...line, ...sums }));
      }
    }
    if (day !== undefined) open = nextDay(day);
  }
  return new Map([...books].map(([day, lines]) => [day, [...lines.values()]]));
}

/** A naive model: one heartbeat at a time, everything in memory. */
function naiveLines(model: Model, day: string): Map<string, DayLine> {
  const seen = new Set<string>();
  const lines = new Map<string, DayLine>();
  const closes = [...model.seals].sort();
  for (const { sequence, receivedAtMs, bytes } of model.events) {
    const earning = appraise(bytes, receivedAtMs, RULES);
    if (typeof earning === "string" || seen.has(earning.eventId.toLowerCase())) continue;
    seen.add(earning.eventId.toLowerCase());
    const watched = new Date(earning.ts).toISOString().slice(0, 10);
    const closed = closes.filter(([, seal]) => seal < sequence).at(-1)?.[0];
    const recognised = closed === undefined ? watched : [watched, nextDay(closed)].sort().at(-1);
    if (recognised !== day) continue;
    const line = { eventDay: watched, territory: earning.region, titleId: earning.titleId };
    const had = lines.get(lineKey(line));
    lines.set(lineKey(line), {
      ...line,
      events: (had?.events ?? 0n) + 1n,
      msWatched: (had?.msWatched ?? 0n) + BigInt(earning.playedMs),
    });
  }
  return lines;
}

const LAST_DAY = "2026-11-23";
const DAYS = ["2026-11-20", "2026-11-21", "2026-11-22", LAST_DAY];

/** Events and ms by line key, without the doubtful figures. */
function amountsByLine(lines: Iterable<DayLine>): Map<string, string> {
  const entries = [...lines].map((line) =>
    [lineKey(line), `${line.events} ${line.msWatched}`] as const
  );
  return new Map(entries.sort());
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a recount equals the naive model and what royalty posts", () =>
  inFolder(async (folder) => {
    const random = propertyRandom("recount against a naive model and accrue");
    for (let run = 0; run < 8; run++) {
      const model = aModel(random, DAYS);
      const books = postedBooks(random, model, DAYS);
      for (const day of [...DAYS, nextDay(LAST_DAY)]) {
        const recounted = await recount(taskOf(model, day, folder));
        const expected = amountsByLine(naiveLines(model, day).values());
        assertEquals(amountsByLine(recounted.lines), expected, day);
        assertEquals(compareLines(books.get(day) ?? [], recounted.lines), [], day);
        assertEquals(totals(recounted.lines).doubtfulEvents, 0n);
      }
    }
  }));

Deno.test("every change of the books is found and reported by line", () =>
  inFolder(async (folder) => {
    const random = propertyRandom("corrupted books against the recount");
    const model = aModel(random, DAYS);
    const { lines } = await recount(taskOf(model, "2026-11-22", folder));
    for (let run = 0; run < 120; run++) {
      const victim = random.int(0, lines.length - 1);
      const change = random.pick<(line: DayLine) => DayLine[]>([
        (line) => [{ ...line, msWatched: line.msWatched + 1n }],
        (line) => [{ ...line, events: line.events - 1n }],
        () => [],
        (line) => [line, { ...line, titleId: "new" }],
        (line) => [{ ...line, territory: "xx" }],
      ]);
      const books = lines.flatMap((line, i) => i === victim ? change(line) : [line]);
      const found = compareLines(books, lines);
      assert(found.length >= 1 && found.length <= 2, `${found.length} differences`);
      assertEquals(
        found.every(({ territory, titleId }) =>
          titleId === "new" || territory === "xx" || titleId === lines[victim]?.titleId
        ),
        true,
      );
    }
  }));

Deno.test("late events are doubtful when older heartbeats were deleted, other events are not", () =>
  inFolder(async (folder) => {
    const random = propertyRandom("recount of a stream whose beginning was deleted");
    for (let run = 0; run < 8; run++) {
      const model = aModel(random, DAYS);
      const whole = await recount(taskOf(model, "2026-11-22", folder));
      const since = Date.parse("2026-11-22") - 300_000;
      const aged = { ...model, events: model.events.filter((m) => m.receivedAtMs >= since) };
      const task = taskOf(aged, "2026-11-22", folder);
      const sources = task.sources.map((source) => ({ ...source, completeSinceMs: since }));
      const recounted = await recount({ ...task, sources });
      const exact = recounted.lines.filter(({ eventDay, doubtfulEvents }) =>
        eventDay === "2026-11-22" && doubtfulEvents > 0n
      );
      assertEquals(exact, [], "an event of the day itself is never doubtful");
      const late = <Line extends DayLine>(lines: readonly Line[]) =>
        lines.filter(({ eventDay }) => eventDay < "2026-11-22");
      assertEquals(compareLines(late(whole.lines), late(recounted.lines)), []);
    }
  }));

Deno.test("an aborted recount rejects and leaves no files", () =>
  inFolder(async (folder) => {
    const task = taskOf(aModel(new Random(1), DAYS), "2026-11-22", folder, 16);
    const stop = new AbortController();
    const sources = task.sources.map((source) => ({
      ...source,
      read: async function* () {
        for await (const batch of source.read()) {
          yield batch;
          const last = batch.at(-1);
          assertExists(last);
          if (last.sequence % 2 ** 32 > 20) stop.abort(new Error("stopping"));
        }
      },
    }));
    await assertRejects(
      () => recount({ ...task, sources, signal: stop.signal }),
      Error,
      "stopping",
    );
    assertEquals([...Deno.readDirSync(folder)], []);
  }));

Deno.test("a day is refused when heartbeats that it needs are no longer kept", () => {
  const needed = Date.parse("2026-11-22") - 300_000;
  const span = { stream: "HEARTBEATS", through: 900, closedThrough: 400 };
  const kept = { firstSeq: 1, lastSeq: 1_000, firstReceivedAt: needed + 1, maxAgeMs: 3 * DAY_MS };
  const since = (extent: Partial<typeof kept>, nowMs = needed, at: Partial<typeof span> = {}) =>
    completeSince({ ...span, ...at }, { ...kept, ...extent }, needed, nowMs);
  const refusal = (extent: Partial<typeof kept>, nowMs = needed) =>
    assertThrows(() => since(extent, nowMs), Refused).message;

  assertEquals(since({}), -Infinity, "nothing was deleted, however late the first receipt");
  const aged = { firstSeq: 300, firstReceivedAt: needed - 10 };
  assertEquals(since(aged), needed - 3 * DAY_MS, "deleted messages exceeded the maximum age");
  assertEquals(since(aged, needed + 9 * DAY_MS), needed - 10, "the oldest message kept proves it");
  assertEquals(since({ firstSeq: 401 }, needed + 3 * DAY_MS), needed);
  assertEquals(since({ firstSeq: 300, maxAgeMs: Infinity }), -Infinity, "lost, not aged");
  const unaged = { ...kept, firstSeq: 1_001, firstReceivedAt: undefined };
  assertEquals(
    completeSince({ ...span, closedThrough: undefined }, unaged, needed, needed),
    needed - 3 * DAY_MS,
  );

  assertEquals(
    refusal({ firstSeq: 300 }, needed + 3 * DAY_MS + 1),
    "HEARTBEATS keeps raw heartbeats from sequence 300 on, all since 2026-11-21T23:55:00.001Z; " +
      "this day needs all since 2026-11-21T23:55:00.000Z. It can no longer be recounted",
  );
  assert(refusal({ firstSeq: 402 }).includes(" and from sequence 401 on"));
  assert(refusal({ lastSeq: 899 }).startsWith("HEARTBEATS ends at 899, but 900 is accounted for"));
});

Deno.test("an id on two streams counts once with the same content, and is doubtful otherwise", () =>
  inFolder(async (folder) => {
    const random = new Random(1);
    const [same, first] = [aHeartbeat(random, NOON), aHeartbeat(random, NOON, { played_ms: 1 })];
    const second = { ...first, played_ms: 2 };
    const sources = [[same, first, first], [second, same]].map((events, i) => ({
      stream: `HEARTBEATS_${i}`,
      through: 9,
      closedThrough: 0,
      completeSinceMs: -Infinity,
      read: async function* () {
        yield events.map((event, at) => ({
          sequence: at + 1,
          index: 0,
          receivedAtMs: NOON,
          bytes: encode(event),
        }));
      },
    }));
    const steps: number[] = [];
    const recounted = await recount({
      day: "2026-11-22",
      zone: ZONE,
      rules: RULES,
      sources,
      folder,
      onProgress: (done) => steps.push(done),
    });
    assertEquals(steps, [3, 5, 10], "read by stream, then counted");
    assertEquals(totals(recounted.lines), {
      events: 3n,
      msWatched: 10_003n,
      doubtfulEvents: 2n,
      doubtfulMs: 3n,
    });
    assertEquals(recounted.repeats, 3);
  }));

Deno.test("device loss of the day is reported and not credited", () =>
  inFolder(async (folder) => {
    const random = new Random(2);
    const beat = (seq: number, ts = NOON) =>
      aHeartbeat(random, ts, { session_id: "s", title_id: "t", region: "de", seq });
    // Of 0 to 9, three are missing. One is repeated, and one is of the day before.
    const heartbeats = [0, 1, 2, 4, 5, 9, 6].map((seq) => beat(seq));
    const [, , third] = heartbeats;
    assertExists(third);
    const sent = [...heartbeats, third, beat(50, NOON - DAY_MS)];
    const events = sent.map((each, i) => ({
      sequence: i + 1,
      index: 0,
      receivedAtMs: NOON,
      bytes: encode(each),
    }));
    const model = { events, seals: new Map([["2026-11-22", events.length]]) };
    const { deviceLoss, lines } = await recount(taskOf(model, "2026-11-22", folder));
    assertEquals(deviceLoss, { sessions: 1, sampled: 1, received: 7, missing: 3 });
    assertEquals(amountsByLine(lines), new Map([["2026-11-22 de t", "7 70000"]]));
  }));

Deno.test("heartbeats are judged by the limits of the contract, to the millisecond", () => {
  const event = aHeartbeat(new Random(1), NOON, { interval_ms: 1_001 });
  const judged = (changes: Partial<Heartbeat>) => {
    const judgement = appraise(encode({ ...event, ...changes }), NOON, RULES);
    return typeof judgement === "string" ? judgement : "earns";
  };
  assertEquals(judged({ played_ms: 2_501 }), "earns");
  assertEquals(judged({ played_ms: 2_502 }), "implausible");
  assertEquals(judged({ played_ms: 2_400, rebuffer_ms: 102 }), "implausible");
  assertEquals(judged({ played_ms: 0, ts: NOON - 7 * DAY_MS }), "earns");
  assertEquals(judged({ played_ms: 0, ts: NOON - 7 * DAY_MS - 1 }), "too_late");
  assertEquals(judged({ played_ms: 0, ts: NOON + 300_000 }), "earns");
  assertEquals(judged({ played_ms: 0, ts: NOON + 300_001 }), "from_the_future");
  const idOf = (made: number) => new Random(1).uuidv7(made).toUpperCase();
  assertEquals(judged({ played_ms: 0, event_id: idOf(NOON - 8 * DAY_MS) }), "earns");
  assertEquals(judged({ played_ms: 0, event_id: idOf(NOON - 8 * DAY_MS - 1) }), "too_late");
  assertEquals(judged({ played_ms: 0, event_id: idOf(Date.UTC(2026, 9, 31)) }), "earns");
  assertEquals(judged({ played_ms: 0, event_id: crypto.randomUUID() }), "earns");
  assertEquals(judged({ played_ms: -1 }), "invalid");
  assertEquals(appraise(new Uint8Array([0xff]), NOON, RULES), "unreadable");
});

Deno.test("DayStarts agrees with BusinessCalendar in every zone", () => {
  const random = propertyRandom("Temporal's days against Intl's");
  const zones = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia"];
  for (const zone of zones) {
    const calendar = new BusinessCalendar(zone);
    const days = new DayStarts(zone);
    for (let i = 0; i < 2_000; i++) {
      const instant = Date.UTC(2011, 0, 1) + random.int(0, 16 * 366 * 24 * 60) * 60_000 +
        random.int(0, 59_999);
      const day = calendar.dayOf(instant);
      assertEquals(days.dayOf(instant), day, `${instant} in ${zone}`);
      assert(days.startOf(day) <= instant);
      assertEquals(calendar.dayOf(days.startOf(day)), day);
    }
  }
  assertEquals(new DayStarts("Europe/Berlin").startOf("2028-02-29"), Date.UTC(2028, 1, 28, 23));
});

Deno.test("writeId writes every bit of an id and ignores case", () => {
  const bytes = new Uint8Array(16);
  const hex = (id: string) => {
    writeId(new DataView(bytes.buffer), 0, id);
    return bytes.toHex();
  };
  const id = "01234567-89ab-7cde-8f01-23456789abcd";
  assertEquals(hex(id), "6789abcd" + "2345" + "8f01" + "7cde" + "89ab" + "01234567");
  assertEquals(hex(id.toUpperCase()), hex(id));
});

Deno.test("the report lists the differences and ends with the verdict", () => {
  const line = { eventDay: "2026-11-22", territory: "de", titleId: "t" };
  const booked = { ...line, events: 2n, msWatched: 20_000n };
  const recounted = {
    ...booked,
    events: 1n,
    msWatched: 10_000n,
    doubtfulEvents: 0n,
    doubtfulMs: 0n,
  };
  const tally: Omit<Recounted, "lines"> = {
    deviceLoss: { sessions: 40, sampled: 0.25, received: 990, missing: 10 },
    read: 3,
    repeats: 1,
    unearned: {
      unreadable: 0,
      invalid: 1,
      implausible: 0,
      canary: 0,
      too_late: 0,
      from_the_future: 0,
    },
  };
  const report: RecountReport = {
    day: "2026-11-22",
    state: "open",
    method: "by hand",
    seconds: 2,
    ...tally,
    lines: [recounted],
    streams: [{ stream: "HEARTBEATS", from: 1, through: 4, missing: 1 }],
    comparisons: [{ name: "accruals", differences: compareLines([booked], [recounted]) }],
  };
  assertEquals(agrees(report), false);
  assertEquals(
    recountText(report),
    `2026-11-22 (open), recounted from raw heartbeats: by hand

HEARTBEATS  sequences 1 to 4, 1 of them not in the stream
read 3: repeats 1, refused invalid 1
recognised on 2026-11-22: 1 events, 10000 ms in 1 lines
device loss: 10 heartbeats missing among 990 received (1.00 %), by the seq of 40 sessions, a sample of 1 in 4; never credited

accruals: 1 lines differ
  event_day   territory  title_id  events  recounted     ms  recounted
  2026-11-22  de         t              2          1  20000      10000

took 2.0 s, 2 events/s
the recount DIFFERS`,
  );
  const facts = JSON.parse(toJson(recountFacts(report)));
  assertEquals([facts.agrees, facts.read, facts.recognised.ms_watched], [false, 3, 10_000]);
  assertEquals(facts.comparisons[0].differences[0].booked.ms_watched, 20_000);
});
