import { assertEquals, assertExists, assertNotEquals } from "@std/assert";
import type { Delivery } from "../../shared/contract/delivery/delivery.ts";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { fnv1aText } from "../../shared/contract/hash.ts";
import { propertyRandom, Random } from "../../shared/dev/testing/random.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import {
  type Accrual,
  type AccrualRules,
  accrue,
  type Credit,
  fingerprintOf,
  type Refusal,
  settle,
} from "./accrue.ts";

const NOW = Date.UTC(2026, 10, 22, 12);
const DAY_MS = 86_400_000;
const RULES: AccrualRules = {
  dayOf: (instant) => new Date(instant).toISOString().slice(0, 10),
  latenessHorizonMs: 7 * DAY_MS,
  futureToleranceMs: 300_000,
};

function delivery(value: unknown, sequence = 1, receivedAtMs = NOW): Delivery {
  return { bytes: encode(value), sequence, index: 0, receivedAtMs };
}

/** Books in memory that are posted to in batches, as by the ledger. */
class Books {
  readonly known = new Map<string, number>();
  readonly credits = new Map<string, { events: number; playedMs: number }>();
  readonly outcomes = { counted: 0, duplicates: 0, quarantined: new Map<number, string>() };

  post(deliveries: readonly Delivery[], oldestOpenDay?: string): void {
    const { claims, refusals } = accrue(deliveries, RULES);
    const settlement = settle(claims, this.known, oldestOpenDay);
    for (const { eventId, fingerprint } of settlement.counted) this.known.set(eventId, fingerprint);
    for (const credit of settlement.credits) this.#credit(credit);
    this.outcomes.counted += settlement.counted.length;
    this.outcomes.duplicates += settlement.duplicates;
    for (const { delivery, rejection } of [...refusals, ...settlement.refused]) {
      this.outcomes.quarantined.set(delivery.sequence, rejection.reason);
    }
  }

  #credit({ recognisedDay, eventDay, titleId, region, events, playedMs }: Credit): void {
    const key = [recognisedDay, eventDay, titleId, region].join();
    const line = this.credits.get(key) ?? { events: 0, playedMs: 0 };
    this.credits.set(key, {
      events: line.events + events,
      playedMs: line.playedMs + playedMs,
    });
  }
}

/** A naive model: one event at a time, without hashes or batches. */
function naive(events: readonly Heartbeat[], oldestOpenDay = "") {
  const first = new Map<string, string>();
  const credits = new Map<string, { events: number; playedMs: number }>();
  const quarantined = new Map<number, string>();
  let duplicates = 0;
  events.forEach((event, i) => {
    const id = event.event_id.toLowerCase();
    const { ts, played_ms, title_id, region, session_id, seq } = event;
    const content = JSON.stringify([ts, played_ms, title_id, region, session_id, seq]);
    if (event.ts < NOW - 7 * DAY_MS) quarantined.set(i + 1, "too_late");
    else if (event.ts > NOW + 300_000) quarantined.set(i + 1, "from_the_future");
    else if (!first.has(id)) {
      first.set(id, content);
      const day = new Date(event.ts).toISOString().slice(0, 10);
      const recognised = [day, oldestOpenDay].sort()[1];
      const key = [recognised, day, event.title_id, event.region].join();
      const line = credits.get(key) ?? { events: 0, playedMs: 0 };
      credits.set(key, {
        events: line.events + 1,
        playedMs: line.playedMs + event.played_ms,
      });
    } else if (first.get(id) === content) duplicates += 1;
    else quarantined.set(i + 1, "conflict");
  });
  return { outcomes: { counted: first.size, duplicates, quarantined }, credits };
}

// Retries, ids in upper case, reused ids, wrong clocks, titles that contain separators.
function traffic(random: Random, count: number): Heartbeat[] {
  const events: Heartbeat[] = [];
  while (events.length < count) {
    const ts = NOW - random.int(-600_000, 3 * DAY_MS) - (random.chance(0.05) ? 6 * DAY_MS : 0);
    const fresh = aHeartbeat(random, ts, {
      played_ms: random.int(0, 10_000),
      title_id: random.pick(["a", "b", 'a,"b', "a b", "{}", "ü\\"]),
    });
    const earlier = events.length > 0 ? random.pick(events) : fresh;
    const kind = random.int(0, 9);
    if (kind === 0) events.push({ ...earlier });
    else if (kind === 1) events.push({ ...earlier, event_id: earlier.event_id.toUpperCase() });
    else if (kind === 2) events.push({ ...earlier, played_ms: random.int(0, 10_000) });
    // Other fields may differ: a retry through another network.
    else if (kind === 3) events.push({ ...earlier, isp: "other" });
    else events.push(fresh);
  }
  return events;
}

function batches<T>(random: Random, items: readonly T[]): T[][] {
  const out: T[][] = [];
  for (let at = 0; at < items.length;) {
    const size = random.int(1, 60);
    out.push(items.slice(at, at + size));
    at += size;
  }
  return out;
}

Deno.test("the result does not depend on the split into batches", () => {
  const random = propertyRandom("accrue and settle against a naive model");
  for (let run = 0; run < 200; run++) {
    const events = traffic(random, random.int(1, 300));
    const oldestOpenDay = random.chance(0.5) ? "2026-11-21" : undefined;
    const books = new Books();
    const deliveries = events.map((event, i) => delivery(event, i + 1));
    for (const batch of batches(random, deliveries)) books.post(batch, oldestOpenDay);
    const model = naive(events, oldestOpenDay);
    assertEquals(books.outcomes, model.outcomes);
    assertEquals(books.credits, model.credits);
  }
});

Deno.test("order and repetition do not change what is credited", () => {
  const random = propertyRandom("accrue under reordering and repetition");
  for (let run = 0; run < 25; run++) {
    const once = Array.from(
      { length: 200 },
      () =>
        aHeartbeat(random, NOW - random.int(0, 2 * DAY_MS), { played_ms: random.int(0, 9_999) }),
    );
    const credited = (events: readonly Heartbeat[]) => {
      const books = new Books();
      const deliveries = events.map((event, i) => delivery(event, i + 1));
      for (const batch of batches(random, deliveries)) books.post(batch);
      return new Map([...books.credits].sort());
    };
    const repeated = random.shuffle([...once, ...once.filter(() => random.chance(0.3))]);
    assertEquals(credited(repeated), credited(once));
  }
});

function onlyRefusal({ refusals }: Accrual): Refusal {
  const [refusal] = refusals;
  assertExists(refusal);
  assertEquals(refusals.length, 1);
  return refusal;
}

Deno.test("an event exactly at the lateness horizon or the future tolerance is accepted", () => {
  const random = new Random(1);
  const at = (ts: number) => accrue([delivery(aHeartbeat(random, ts))], RULES);
  assertEquals(at(NOW - 7 * DAY_MS).claims.length, 1);
  assertEquals(at(NOW + 300_000).claims.length, 1);
  const refusalOf = (ts: number) => onlyRefusal(at(ts)).rejection;
  assertEquals(refusalOf(NOW - 7 * DAY_MS - 1), {
    reason: "too_late",
    path: "$.ts",
    detail: "ts is 604800001 ms before receipt, more than 604800000",
    build: "9.1.0",
  });
  assertEquals(refusalOf(NOW + 300_001).reason, "from_the_future");
  // The largest integer that a device can send is beyond every calendar day.
  const largest = aHeartbeat(random, NOW, { ts: Number.MAX_SAFE_INTEGER });
  const { rejection } = onlyRefusal(accrue([delivery(largest)], RULES));
  assertEquals(rejection.reason, "from_the_future");
});

Deno.test("an id whose key may have been dropped is refused, whatever its ts", () => {
  const random = new Random(1);
  const made = (event_id: string) =>
    accrue([delivery(aHeartbeat(random, NOW, { event_id }))], RULES);
  const limit = NOW - 8 * DAY_MS;
  assertEquals(made(random.uuidv7(limit)).claims.length, 1);
  for (const id of [random.uuidv7(limit - 1), random.uuidv7(limit - 1).toUpperCase()]) {
    const { rejection, msAtRisk } = onlyRefusal(made(id));
    assertEquals([rejection.reason, rejection.path, msAtRisk], ["too_late", "$.event_id", 10_000]);
  }
  assertEquals(made(random.uuidv7(0)).claims.length, 1, "a clock that was never set");
  assertEquals(made(random.uuidv7(limit - 1).replace("-7", "-4")).claims.length, 1);
});

Deno.test("a malformed event does not affect its neighbours", () => {
  const random = new Random(1);
  const [before, after] = [aHeartbeat(random, NOW), aHeartbeat(random, NOW)];
  const broken = {
    bytes: new Uint8Array([0xff]),
    sequence: 2,
    index: 0,
    receivedAtMs: NOW,
  };
  const { claims, refusals } = accrue([delivery(before, 1), broken, delivery(after, 3)], RULES);
  assertEquals(claims.map(({ delivery }) => delivery.sequence), [1, 3]);
  assertEquals(refusals.map(({ rejection }) => rejection.reason), ["not_utf8"]);
});

Deno.test("an event of a closed day is recognised on the oldest open day", () => {
  const random = new Random(1);
  const event = aHeartbeat(random, Date.UTC(2026, 10, 20, 23, 59), { title_id: "t" });
  const { claims } = accrue([delivery(event)], RULES);
  const [credit] = settle(claims, new Map(), "2026-11-22").credits;
  assertEquals([credit?.recognisedDay, credit?.eventDay], ["2026-11-22", "2026-11-20"]);
});

Deno.test("the fingerprint depends on what is credited, session and seq, and on no other field", () => {
  const event = aHeartbeat(new Random(1), NOW);
  const print = fingerprintOf(event);
  const another: Heartbeat = { ...event, bitrate_kbps: 9, device_id: "other" };
  assertEquals(fingerprintOf(another), print);
  const changes: Partial<Heartbeat>[] = [
    { ts: NOW + 1 },
    { played_ms: 9_999 },
    { title_id: "x" },
    { region: "fr" },
    { seq: event.seq + 1 },
    { session_id: "other" },
  ];
  for (const change of changes) assertNotEquals(fingerprintOf({ ...event, ...change }), print);
});

Deno.test("two viewers who share an id are seen; a key from before that was looked at still counts", () => {
  const event = aHeartbeat(new Random(6), NOW);
  const claimsOf = (...events: Heartbeat[]) =>
    accrue(events.map((event) => delivery(event)), RULES).claims;
  const { counted, refused } = settle(
    claimsOf(event, { ...event, session_id: "other" }, { ...event, seq: event.seq + 1 }),
    new Map(),
    undefined,
  );
  assertEquals([counted.length, refused.map(({ rejection }) => rejection.reason)], [1, [
    "conflict",
    "conflict",
  ]]);
  const { ts, played_ms, region, title_id } = event;
  const before = fnv1aText(`${ts} ${played_ms} ${region} ${title_id}`) | 0;
  const known = new Map([[event.event_id, before]]);
  assertEquals(settle(claimsOf(event), known, undefined).duplicates, 1);
  const other = { ...event, played_ms: event.played_ms + 1 };
  assertEquals(settle(claimsOf(other), known, undefined).refused.length, 1);
});

Deno.test("an id whose key was dropped is refused, unless its key is known", () => {
  const { claims } = accrue([delivery(aHeartbeat(new Random(5), NOW))], RULES);
  const [claim] = claims;
  assertExists(claim);
  const settled = (known: ReadonlyMap<string, number>) =>
    settle(claims, known, undefined, () => true);
  const { counted, refused: [refusal] } = settled(new Map());
  assertEquals(counted, []);
  assertEquals([refusal?.rejection.reason, refusal?.msAtRisk], ["too_late", claim.playedMs]);
  assertEquals(settled(new Map([[claim.eventId, claim.fingerprint]])).duplicates, 1);
});
