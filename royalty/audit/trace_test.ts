import { assert, assertEquals, assertExists } from "@std/assert";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import { toJson } from "../../shared/process/cli/json_output.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { accrue, type Claim } from "../posting/accrue.ts";
import type { StatementLine } from "../statement/statement_csv.ts";
import { addsUp, type LineFilter, matchingLines, Trace, type TraceOutcome } from "./trace.ts";
import { titleMatcher } from "./trace_raw.ts";
import { traceFacts, traceText } from "./trace_report.ts";

const DAY_MS = 86_400_000;
const RULES = {
  dayOf: (instant: number) => new Date(instant).toISOString().slice(0, 10),
  latenessHorizonMs: 30 * DAY_MS,
  futureToleranceMs: 300_000,
};
const FIRST_MS = Date.UTC(2026, 10, 20);
const FIRST = RULES.dayOf(FIRST_MS);
const SECOND = RULES.dayOf(FIRST_MS + DAY_MS);
/** The days of the events; the last day is open. */
const DAYS = [FIRST, SECOND, RULES.dayOf(FIRST_MS + 2 * DAY_MS)];

function claimOf(heartbeat: Heartbeat, sequence: number): Claim {
  const receivedAtMs = FIRST_MS + 3 * DAY_MS;
  const delivery = { bytes: encode(heartbeat), sequence, index: 0, receivedAtMs };
  const [claim] = accrue([delivery], RULES).claims;
  assertExists(claim);
  return claim;
}

/** The outcome of a claim in the naive model. */
interface Outcome {
  readonly claim: Claim;
  readonly outcome: TraceOutcome;
  readonly recognised: string | undefined;
}

/** A naive model of the books: one claim at a time, with days that close at given sequences. */
function naiveBooks(claims: readonly Claim[], closes: ReadonlyMap<string, number>) {
  const keys = new Map<string, number>();
  const outcomes: Outcome[] = [];
  const lines = new Map<string, StatementLine>();
  for (const claim of claims) {
    const known = keys.get(claim.eventId);
    if (known !== undefined) {
      const outcome = known === claim.fingerprint ? "duplicate" : "conflict";
      outcomes.push({ claim, outcome, recognised: undefined });
      continue;
    }
    keys.set(claim.eventId, claim.fingerprint);
    const recognised = DAYS.find((day) =>
      day >= claim.eventDay && claim.delivery.sequence <= (closes.get(day) ?? Infinity)
    );
    assertExists(recognised);
    outcomes.push({ claim, outcome: "counted", recognised });
    const key = `${recognised} ${claim.eventDay} ${claim.region} ${claim.titleId}`;
    const line = lines.get(key);
    lines.set(key, {
      recognisedDay: recognised,
      eventDay: claim.eventDay,
      studio: undefined,
      titleId: claim.titleId,
      territory: claim.region,
      events: (line?.events ?? 0n) + 1n,
      msWatched: (line?.msWatched ?? 0n) + BigInt(claim.playedMs),
    });
  }
  return { keys, outcomes, lines: [...lines.values()] };
}

function aStream(random: Random, count: number): Claim[] {
  const sent: Heartbeat[] = [];
  return Array.from({ length: count }, (_, i) => {
    const heartbeat = nextHeartbeat(random, sent.length > 0 ? random.pick(sent) : undefined);
    sent.push(heartbeat);
    return claimOf(heartbeat, i + 1);
  });
}

// `old` again, its id with other content, or a new one.
function nextHeartbeat(random: Random, old: Heartbeat | undefined): Heartbeat {
  if (old) {
    const kind = random.next();
    if (kind < 0.2) return old;
    if (kind < 0.3) {
      return { ...old, title_id: `t${random.int(0, 2)}`, played_ms: random.int(0, 10_000) };
    }
  }
  return aHeartbeat(random, FIRST_MS + random.int(0, 3 * DAY_MS - 1), {
    title_id: `t${random.int(0, 2)}`,
    region: random.pick(["de", "br"]),
    played_ms: random.int(0, 10_000),
  });
}

Deno.test("every line is traced to the heartbeats of the naive model", () => {
  const random = propertyRandom("trace against a naive model");
  for (let round = 0; round < 60; round++) {
    const claims = aStream(random, random.int(0, 150));
    const firstClose = random.int(0, claims.length);
    const closes = new Map([
      [FIRST, firstClose],
      [SECOND, random.int(firstClose, claims.length)],
    ]);
    const { keys, outcomes, lines } = naiveBooks(claims, closes);
    let closedThrough: number | undefined;
    for (const day of DAYS) {
      const filter: LineFilter = {
        day,
        titleId: `t${random.int(0, 2)}`,
        territory: random.pick([undefined, "de"]),
        eventDay: random.pick([undefined, undefined, FIRST]),
      };
      const through = closes.get(day) ?? claims.length;
      const trace = new Trace(filter, 1_000);
      for (const claim of trace.select(claims.slice(0, through))) {
        trace.add("HEARTBEATS", claim, keys.get(claim.eventId), closedThrough);
      }
      const linesOfDay = lines.filter(({ recognisedDay }) => recognisedDay === day);
      const booked = matchingLines(linesOfDay, filter);
      const traced = trace.against(booked);
      assert(addsUp(trace, traced), traceText(trace, traced));
      for (const { sequence, outcome } of trace.events) {
        const expected = outcomes[sequence - 1];
        assertExists(expected);
        const isEarlier = expected.recognised !== undefined && expected.recognised < day;
        assertEquals(outcome, isEarlier ? "earlier" : expected.outcome);
      }
      const counted = outcomes.filter(({ claim, recognised }) =>
        recognised === day && trace.select([claim]).length === 1
      );
      assertEquals(trace.outcomes.counted, counted.length, "nothing else is in the lines");
      closedThrough = closes.get(day);
    }
  }
});

Deno.test("the title matcher finds a title in every JSON spelling", () => {
  const titles = ["t-1", 'a "quoted" one', "back\\slash", "größer", "\u{1f3ac}", "a/b"];
  const spellings = [
    (text: string) => text,
    (text: string) => text.replaceAll("/", "\\/"),
    (text: string) =>
      text.replace(
        /[^\x20-\x7e]/g,
        (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
      ),
  ];
  const random = propertyRandom("spellings of titles");
  for (const titleId of titles) {
    const mayContain = titleMatcher(titleId);
    for (const spell of spellings) {
      const text = spell(JSON.stringify(aHeartbeat(random, FIRST_MS, { title_id: titleId })));
      assertEquals(JSON.parse(text).title_id, titleId);
      assert(mayContain(new TextEncoder().encode(text)), text);
    }
    assert(!mayContain(encode(aHeartbeat(random, FIRST_MS, { title_id: "another" }))));
  }
});

Deno.test("a missing id or a line with another sum does not add up", () => {
  const claim = claimOf(
    aHeartbeat(propertyRandom("a missing id"), FIRST_MS, { title_id: "t0", region: "de" }),
    7,
  );
  const filter = { day: FIRST, titleId: "t0", territory: undefined, eventDay: undefined };
  const booked = {
    recognisedDay: FIRST,
    eventDay: FIRST,
    studio: "Studio",
    titleId: "t0",
    territory: "de",
    events: 1n,
    msWatched: 10_000n,
  };
  const trace = new Trace(filter, 10);
  trace.add("HEARTBEATS", claim, claim.fingerprint, undefined);
  assert(addsUp(trace, trace.against([booked])));
  assert(!addsUp(trace, trace.against([{ ...booked, msWatched: 10_001n }])));
  const facts = JSON.parse(toJson(traceFacts(trace, trace.against([booked]))));
  assertEquals([facts.title_id, facts.adds_up, facts.outcomes.counted], ["t0", true, 1]);
  assertEquals([facts.lines[0].ms_found, facts.lines[0].equal], [10_000, true]);
  assertEquals(facts.heartbeats[0].event_id, claim.eventId);
  assert(!addsUp(trace, trace.against([{ ...booked, events: 2n }])));
  trace.add("HEARTBEATS", { ...claim, eventId: "another" }, undefined, undefined);
  assert(!addsUp(trace, trace.against([booked])));
  assertEquals(trace.outcomes.missing, 1);
});
