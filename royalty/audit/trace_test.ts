import { assert, assertEquals } from "@std/assert";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { accrue, type Claim } from "../posting/accrue.ts";
import type { StatementLine } from "../statement/csv.ts";
import { addsUp, type Fate, linesOf, Trace, traceText, type Wanted } from "./trace.ts";
import { naming } from "./trace_raw.ts";

const DAY_MS = 86_400_000;
const RULES = {
  dayOf: (instant: number) => new Date(instant).toISOString().slice(0, 10),
  latenessHorizonMs: 30 * DAY_MS,
  futureToleranceMs: 300_000,
};
const FIRST_MS = Date.UTC(2026, 10, 20);
const DAYS = [0, 1, 2].map((n) => RULES.dayOf(FIRST_MS + n * DAY_MS));

function claimOf(heartbeat: Heartbeat, sequence: number): Claim {
  const receivedAt = FIRST_MS + 3 * DAY_MS;
  const delivery = { bytes: encode(heartbeat), sequence, receivedAt, redelivered: false };
  return accrue([delivery], RULES).claims[0];
}

/** What the books would make of a stream whose days close at given sequences, one claim at a time. */
function naiveBooks(claims: readonly Claim[], closes: ReadonlyMap<string, number>) {
  const keys = new Map<string, number>();
  const outcomes: { readonly fate: Fate; readonly recognised: string | undefined }[] = [];
  const lines = new Map<string, StatementLine>();
  for (const claim of claims) {
    const known = keys.get(claim.eventId);
    if (known !== undefined) {
      const fate = known === claim.fingerprint ? "duplicate" : "conflict";
      outcomes.push({ fate, recognised: undefined });
      continue;
    }
    keys.set(claim.eventId, claim.fingerprint);
    const recognised = DAYS.find((day) =>
      day >= claim.eventDay && claim.delivery.sequence <= (closes.get(day) ?? Infinity)
    )!;
    outcomes.push({ fate: "counted", recognised });
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
    const old = sent.length > 0 ? random.pick(sent) : undefined;
    const kind = old ? random.next() : 1;
    const heartbeat = kind < 0.2
      ? old!
      : kind < 0.3
      ? { ...old!, title_id: `t${random.int(0, 2)}`, played_ms: random.int(0, 10_000) }
      : aHeartbeat(random, FIRST_MS + random.int(0, 3 * DAY_MS - 1), {
        title_id: `t${random.int(0, 2)}`,
        region: random.pick(["de", "br"]),
        played_ms: random.int(0, 10_000),
      });
    sent.push(heartbeat);
    return claimOf(heartbeat, i + 1);
  });
}

Deno.test("every line of every day is traced to what a naive ledger put into it", () => {
  const random = propertyRandom("trace against a naive ledger");
  for (let round = 0; round < 60; round++) {
    const claims = aStream(random, random.int(0, 150));
    const firstClose = random.int(0, claims.length);
    const closes = new Map([
      [DAYS[0], firstClose],
      [DAYS[1], random.int(firstClose, claims.length)],
    ]);
    const { keys, outcomes, lines } = naiveBooks(claims, closes);
    for (const [n, day] of DAYS.entries()) {
      const wanted: Wanted = {
        day,
        titleId: `t${random.int(0, 2)}`,
        territory: random.pick([undefined, "de"]),
        eventDay: random.pick([undefined, undefined, DAYS[0]]),
      };
      const through = closes.get(day) ?? claims.length;
      const closedThrough = closes.get(DAYS[n - 1]);
      const trace = new Trace(wanted, 1_000);
      for (const claim of trace.select(claims.slice(0, through))) {
        trace.add("HEARTBEATS", claim, keys.get(claim.eventId), closedThrough);
      }
      const booked = linesOf(lines.filter(({ recognisedDay }) => recognisedDay === day), wanted);
      const traced = trace.against(booked);
      assert(addsUp(trace, traced), traceText(trace, traced));
      for (const { sequence, fate } of trace.events) {
        const { fate: expected, recognised } = outcomes[sequence - 1];
        assertEquals(fate, recognised !== undefined && recognised < day ? "earlier" : expected);
      }
      const counted = outcomes.filter(({ recognised }, i) =>
        recognised === day && trace.select([claims[i]]).length === 1
      );
      assertEquals(trace.fates.counted, counted.length, "nothing else is in the line");
    }
  }
});

Deno.test("no heartbeat of a title is passed over, however its title is spelled", () => {
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
    const mayName = naming(titleId);
    for (const spell of spellings) {
      const text = spell(JSON.stringify(aHeartbeat(random, FIRST_MS, { title_id: titleId })));
      assertEquals(JSON.parse(text).title_id, titleId);
      assert(mayName(new TextEncoder().encode(text)), text);
    }
    assert(!mayName(encode(aHeartbeat(random, FIRST_MS, { title_id: "another" }))));
  }
});

Deno.test("an id that the books lack, or a line that says more, does not add up", () => {
  const claim = claimOf(
    aHeartbeat(propertyRandom("a lacking id"), FIRST_MS, { title_id: "t0", region: "de" }),
    7,
  );
  const wanted = { day: DAYS[0], titleId: "t0", territory: undefined, eventDay: undefined };
  const booked = [{
    recognisedDay: DAYS[0],
    eventDay: DAYS[0],
    studio: "Studio",
    titleId: "t0",
    territory: "de",
    events: 1n,
    msWatched: 10_000n,
  }];
  const trace = new Trace(wanted, 10);
  trace.add("HEARTBEATS", claim, claim.fingerprint, undefined);
  assert(addsUp(trace, trace.against(booked)));
  assert(!addsUp(trace, trace.against([{ ...booked[0], msWatched: 10_001n }])));
  assert(!addsUp(trace, trace.against([{ ...booked[0], events: 2n }])));
  trace.add("HEARTBEATS", { ...claim, eventId: "another" }, undefined, undefined);
  assert(!addsUp(trace, trace.against(booked)));
  assertEquals(trace.fates.missing, 1);
});
