/**
 * The key table on a real Postgres: partitions are made and dropped, and each id counts once.
 *
 * @module
 */
import { assertEquals, assertExists } from "@std/assert";
import type { Sql } from "postgres";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { propertyRandom, Random } from "../../shared/dev/testing/random.ts";
import { RetryAfter } from "../../shared/process/errors.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { stateOf } from "../../shared/process/postgres/transient.ts";
import { type KeyRetention, maintainKeys } from "./key_partitions.ts";
import type { Position } from "../books/accounts.ts";
import { openBooks } from "../books/connection.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import { LedgerSession } from "./ledger.ts";
import { createDatabase } from "../../shared/dev/servers/stack.ts";
import { BooksRig, commitPosting, postingOf } from "../../shared/e2e/books_rig.ts";

const DAY_MS = 86_400_000;
const UNIQUE_VIOLATION = "23505";
const START = Date.UTC(2026, 10, 22, 12);
const RULES = {
  dayOf: (instant: number) => new Date(instant).toISOString().slice(0, 10),
  latenessHorizonMs: 2 * DAY_MS,
  futureToleranceMs: 300_000,
};
const RETENTION: KeyRetention = {
  streams: ["HEARTBEATS"],
  latenessHorizonMs: 2 * DAY_MS,
  otherKeysMs: 0,
};

interface PartitionRow {
  readonly name: string;
}

/** Rounds until none drops anything; returns the days that were dropped. */
async function maintainAll(sql: Sql, retention: KeyRetention, now: number): Promise<string[]> {
  const dropped: string[] = [];
  for (;;) {
    const round = await maintainKeys(sql, retention, now);
    if (round.dropped === undefined && round.otherDeleted === 0) return dropped;
    dropped.push(...[round.dropped ?? []].flat());
  }
}

/** Number of keys in each table. */
interface CountsRow {
  readonly v7: number;
  readonly stray: number;
  readonly other: number;
}

interface KeyRow {
  readonly event_id: string;
}

interface ReceivedRow {
  readonly received: string | null;
}

/** Gives events their sequences and posts them like a worker. */
class Poster {
  sequence = 0;
  constructor(readonly session: LedgerSession) {}

  /** Like {@link post}, but retries when another stream inserts an id at the same time. */
  async postWithRetry(events: readonly Heartbeat[], receivedAtMs: number): Promise<Position> {
    const before = this.sequence;
    for (;;) {
      try {
        return await this.post(events, receivedAtMs);
      } catch (error) {
        // A deadlock is a RetryAfter.
        if (!(error instanceof RetryAfter) && stateOf(error) !== UNIQUE_VIOLATION) throw error;
        this.sequence = before;
      }
    }
  }

  async post(bodies: readonly Heartbeat[], receivedAtMs: number): Promise<Position> {
    const { stream } = this.session;
    const posting = postingOf({ stream, after: this.sequence, bodies, receivedAtMs }, RULES);
    this.sequence = posting.through.lastSeq;
    return await commitPosting(this.session, posting);
  }
}

async function partitions(sql: Sql): Promise<string[]> {
  const rows = await sql<PartitionRow[]>`
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'royalty.event_key_v7'::regclass order by 1`;
  return rows.map(({ name }) => name.replace("event_key_v7_", ""));
}

async function counts(sql: Sql): Promise<CountsRow> {
  const rows = await sql<CountsRow[]>`
    select (select count(*)::int from royalty.event_key_v7) as v7,
      (select count(*)::int from royalty.event_key_v7_stray) as stray,
      (select count(*)::int from royalty.event_key_other) as other`;
  return { ...onlyRow(rows, "the keys") };
}

/** An id of one of the kinds that devices send. */
function anId(random: Random, now: number): string {
  const v7 = (instant: number) => random.uuidv7(Math.max(0, instant));
  switch (random.int(0, 9)) {
    case 0: // a v4 whose random bits look like a time
      return v7(now - random.int(0, 30 * DAY_MS)).replace(/-7/, "-4");
    case 1: // a clock that was never set
      return v7(random.int(0, 1_000_000));
    case 2: // a clock that runs ahead
      return v7(now + random.int(0, 12 * DAY_MS));
    case 3: // a clock that is behind
      return v7(now - random.int(0, 12 * DAY_MS));
    default:
      return v7(now - random.int(0, DAY_MS));
  }
}

/** A naive model of the rules in the header of event_key.ts, which keeps every key. */
class Model {
  readonly #counted = new Map<string, number>();
  readonly outcomes = { counted: 0, quarantined: 0, duplicates: 0 };

  take({ event_id, ts }: Heartbeat, receivedAtMs: number): void {
    const made = parseInt(event_id.replaceAll("-", "").slice(0, 12), 16);
    const isOld = event_id[14] === "7" && made >= Date.UTC(2026, 10, 1) &&
      receivedAtMs - made > 3 * DAY_MS;
    if (isOld || ts < receivedAtMs - 2 * DAY_MS || ts > receivedAtMs + 300_000) {
      this.outcomes.quarantined += 1;
    } else if (!this.#counted.has(event_id)) {
      this.#counted.set(event_id, ts);
      this.outcomes.counted += 1;
    } else if (this.#counted.get(event_id) === ts) this.outcomes.duplicates += 1;
    else this.outcomes.quarantined += 1;
  }
}

Deno.test("the key table", async (t) => {
  await using books = await BooksRig.earlier("003");
  const { url, sql } = books;

  await t.step("the migration moves existing keys to their tables and partitions", async () => {
    const random = new Random(1);
    const ids = [random.uuidv7(START), random.uuidv7(0), random.uuidv7(START).replace("-7", "-4")];
    await sql`
      insert into royalty.event_key
      select id::text::uuid, 7 from unnest(${`{${ids}}`}::text::text[]) as t(id)`;
    await createDatabase(books.stack.postgres);
    await openBooks(url, "UTC");
    assertEquals(await counts(sql), { v7: 2, stray: 2, other: 1 });
    await maintainKeys(sql, RETENTION, START);
    assertEquals(await counts(sql), { v7: 2, stray: 1, other: 1 });
    const kept = await sql<KeyRow[]>`select event_id from royalty.event_key`;
    assertEquals(kept.map((row) => row.event_id).sort(), [...ids].sort());
    await sql`delete from royalty.event_key_v7`;
    await sql`delete from royalty.event_key_other`;
  });

  await t.step("of several processes at once, one makes the missing partitions", async () => {
    const later = START + DAY_MS;
    const rounds = await Promise.all([1, 2, 3].map(() => maintainKeys(sql, RETENTION, later)));
    assertEquals(rounds.flatMap(({ made }) => made), ["2026-11-26"]);
    assertEquals((await partitions(sql)).at(-2), "20261126");
  });

  await using session = new LedgerSession(url, "HEARTBEATS");
  await session.position();
  const poster = new Poster(session);

  await t.step(
    "with partitions dropped over weeks, ids count as if no key was dropped",
    async () => {
      const random = propertyRandom("dropping keys changes no outcome");
      const model = new Model();
      const sent: Heartbeat[] = [];
      let dropped = 0;
      let position: Position | undefined;
      for (let hour = 0; hour < 24 * 24; hour += random.int(2, 20)) {
        const now = START + DAY_MS + hour * 3_600_000;
        const batch = Array.from({ length: 40 }, () => {
          const ts = now - random.int(0, DAY_MS);
          if (sent.length === 0 || random.chance(0.5)) {
            return aHeartbeat(random, ts, { event_id: anId(random, now) });
          }
          const earlier = random.pick(sent.slice(random.chance(0.5) ? 0 : -400));
          return random.chance(0.3) ? { ...earlier, ts } : earlier;
        });
        sent.push(...batch);
        for (const event of batch) model.take(event, now);
        position = await poster.post(batch, now);
        if (random.chance(0.5)) dropped += (await maintainAll(sql, RETENTION, now)).length;
      }
      assertExists(position);
      const { counted, quarantined, duplicates } = position;
      assertEquals({ counted, quarantined, duplicates }, model.outcomes);
      assertEquals(dropped > 10, true, `dropped ${dropped}`);
      const days = (await partitions(sql)).length;
      assertEquals(days <= 12, true, `${days} partitions`);
    },
  );

  await t.step(
    "an id repeated with a new ts after its partition was dropped is refused",
    async () => {
      const random = new Random(2);
      const first = START + 40 * DAY_MS;
      const event = aHeartbeat(random, first);
      await maintainKeys(sql, RETENTION, first);
      const before = await poster.post([event], first);
      const later = first + 6 * DAY_MS;
      const after = await poster.post([aHeartbeat(random, later)], later);
      const dropped = await maintainAll(sql, RETENTION, later);
      assertEquals(dropped.includes(RULES.dayOf(first)), true, `dropped ${dropped}`);
      const again = await poster.post([{ ...event, ts: later }], later);
      assertEquals(after.counted, before.counted + 1);
      assertEquals([again.counted, again.quarantined], [after.counted, after.quarantined + 1]);
    },
  );

  await t.step("a raised horizon refuses the ids whose keys were dropped before", async () => {
    const now = START + 46 * DAY_MS;
    const event = aHeartbeat(new Random(4), now, {
      event_id: new Random(5).uuidv7(now - 5 * DAY_MS),
    });
    const { counted, quarantined, lastSeq: after } = await session.position();
    const raised = { ...RULES, latenessHorizonMs: 7 * DAY_MS };
    const batch = { stream: session.stream, after, bodies: [event], receivedAtMs: now };
    const position = await commitPosting(session, postingOf(batch, raised));
    assertEquals([position.counted, position.quarantined], [counted, quarantined + 1]);
    poster.sequence = position.lastSeq;
  });

  await t.step("keys of other ids are kept forever, or as long as the setting says", async () => {
    const now = START + 46 * DAY_MS;
    const { other } = await counts(sql);
    assertEquals((await maintainKeys(sql, RETENTION, now)).otherDeleted, 0);
    // Kept for at least the horizon, after which identical copies are refused.
    const event = aHeartbeat(new Random(3), now, { event_id: crypto.randomUUID() });
    await poster.post([event], now);
    const kept = { ...RETENTION, otherKeysMs: 1 * DAY_MS };
    const { otherDeleted } = await maintainKeys(sql, kept, now);
    assertEquals(0 < otherDeleted && otherDeleted < other, true, "one day in a round");
    await maintainAll(sql, kept, now);
    assertEquals((await counts(sql)).other, 1);
  });
});

Deno.test("partitions are made and dropped while two streams post the same ids", async () => {
  await using books = await BooksRig.start({ zone: "UTC" });
  const { url, sql } = books;
  const streams = ["HEARTBEATS_0", "HEARTBEATS_1"];
  const random = propertyRandom("keys under two streams");
  const rounds = 45;
  const batches = Array.from({ length: rounds }, (_, i) => {
    const now = START + i * DAY_MS / 3;
    const ids = Array.from({ length: 50 }, () => anId(random, now));
    return { now, events: ids.map((event_id) => aHeartbeat(random, now, { event_id })) };
  });
  const model = new Model();
  for (const { now, events } of batches) for (const event of events) model.take(event, now);

  let posting = streams.length;
  let dropped = 0;
  const postAll = async (stream: string) => {
    await using session = new LedgerSession(url, stream);
    await session.position();
    const poster = new Poster(session);
    for (const { now, events } of batches) await poster.postWithRetry(events, now);
    posting -= 1;
    return await session.position();
  };
  const finals = Promise.all([postAll("HEARTBEATS_0"), postAll("HEARTBEATS_1")]);
  while (posting > 0) {
    const rows = await sql<ReceivedRow[]>`
      select max(last_received_ms) as received from royalty.stream_position`;
    const now = Number(onlyRow(rows, "the last receipt").received) || START;
    const two = [1, 2].map(() => maintainKeys(sql, { ...RETENTION, streams }, now));
    for (const round of await Promise.all(two)) dropped += Number(round.dropped !== undefined);
  }
  const [a, b] = await finals;
  assertEquals(a.counted + b.counted, model.outcomes.counted);
  assertEquals([a.quarantined, b.quarantined], [1, 1].map(() => model.outcomes.quarantined));
  assertEquals(a.duplicates + b.duplicates, model.outcomes.counted + 2 * model.outcomes.duplicates);
  assertEquals(dropped > 5, true, `dropped ${dropped}`);
});
