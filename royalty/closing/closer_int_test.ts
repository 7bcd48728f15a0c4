/**
 * Closing against a real Postgres: late events, races, kills, reissues, and the chain.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertExists,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import type { Sql } from "postgres";
import { ChildProcess, type ChildResult, runTask } from "../../shared/dev/testing/child_process.ts";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { propertyRandom, Random } from "../../shared/dev/testing/random.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { Workspace } from "../../shared/dev/servers/workspace.ts";
import { BooksRig, commitPosting, postingOf } from "../../shared/e2e/books_rig.ts";
import { Refused } from "../../shared/process/errors.ts";
import type { Heartbeat } from "../../shared/contract/event.ts";
import { settleGap } from "../books/gaps.ts";
import { readDayLines } from "../books/lines.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import { readEntries, readIssued } from "../books/statements.ts";
import { BusinessCalendar, nextDay } from "../statement/business_day.ts";
import { Closer, type CloserOptions } from "./closer.ts";
import { readAccounts } from "../books/accounts.ts";
import { putCatalogue } from "../books/stored_catalogue.ts";
import { ALWAYS, EVERYWHERE, type Right } from "../statement/catalogue.ts";
import { LedgerSession } from "../posting/ledger.ts";
import { StatementFiles } from "../statement/files.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** A recount without its lines. */
const TEST_RECOUNT = {
  method: "test",
  deviceLoss: { sessions: 2, sampled: 1, received: 30, missing: 4 },
  seconds: 1,
};

interface WaitingRow {
  readonly waiting: number;
}

/** Number of rows in each table. */
interface LeftRow {
  readonly seals: number;
  readonly statements: number;
}

const RULES = { latenessHorizonMs: 30 * DAY_MS, futureToleranceMs: 300_000 };

const BY = { by: "Ada" };
const BY_ADA = ["--by", "Ada"];
const FROM_ADA = { ...BY, file: "titles.csv" };

/** The right to a title everywhere and always. */
function rightTo(titleId: string, studio: string): Right {
  return { titleId, territory: EVERYWHERE, studio, ...ALWAYS, titleName: undefined };
}

/** New books on a shared server, with one posting session and a clock that the test sets. */
class CloserRig implements AsyncDisposable {
  now = 0;
  readonly sql: Sql;
  readonly calendar: BusinessCalendar;
  readonly session: LedgerSession;

  private constructor(readonly books: BooksRig, readonly zone: string) {
    this.sql = books.sql;
    this.calendar = new BusinessCalendar(zone);
    this.session = new LedgerSession(books.url, "HEARTBEATS");
  }

  static async start(books: BooksRig, zone = "UTC"): Promise<CloserRig> {
    await books.renew(zone);
    return new CloserRig(books, zone);
  }

  /**
   * Posts what a stream received at `receivedAtMs`, after it lost `lost` sequences. `beforeCommit` runs
   * between each plan and its commit.
   */
  async post(
    bodies: readonly (Heartbeat | string)[],
    receivedAtMs = this.now,
    lost = 0,
    beforeCommit?: () => Promise<void>,
  ): Promise<void> {
    const { lastSeq: after } = await this.session.position();
    const received = { stream: "HEARTBEATS", after, bodies, receivedAtMs, lost };
    const dayOf = (instant: number) => this.calendar.dayOf(instant);
    await commitPosting(this.session, postingOf(received, { ...RULES, dayOf }), beforeCommit);
  }

  /** Whether so many sessions wait for a lock. */
  async waiting(count: number): Promise<boolean> {
    const rows = await this.sql<WaitingRow[]>`
      select count(*)::int as waiting from pg_locks where not granted`;
    return onlyRow(rows, "how many wait").waiting >= count;
  }

  closer(options: Partial<CloserOptions> = {}): Closer {
    return new Closer({
      databaseUrl: this.books.issuerUrl,
      graceMs: HOUR_MS,
      now: () => this.now,
      agreedMs: () => Promise.resolve(this.now),
      // The whole stream was posted.
      streamEnds: async () => new Map([["HEARTBEATS", (await this.session.position()).lastSeq]]),
      ...options,
    });
  }

  /** Closes `day` an hour after its end. */
  async close(day: string, options: Partial<CloserOptions> = {}) {
    this.now = Math.max(this.now, this.calendar.endOf(day) + HOUR_MS);
    return await this.closer(options).close(day, BY);
  }

  async csv(day: string, version?: number): Promise<string> {
    return new TextDecoder().decode((await readIssued(this.sql, day, version)).csv);
  }

  async manifest(day: string, version?: number) {
    const { manifest } = await readIssued(this.sql, day, version);
    return JSON.parse(new TextDecoder().decode(manifest));
  }

  /** Runs a command as a person does. */
  async command(settings: Record<string, string>, ...args: string[]): Promise<ChildResult> {
    return await runTask("royalty", args, { ...this.#environment, ...settings });
  }

  /** Runs a command until it waits to write to `table`, and kills it there. */
  async killWhenItWaitsFor(
    table: string,
    settings: Record<string, string>,
    args: readonly string[],
  ): Promise<void> {
    await this.sql.begin(async (tx) => {
      // This lock does not block readers.
      await tx`lock table ${tx(`royalty.${table}`)} in exclusive mode`;
      const cli = new URL("../cli.ts", import.meta.url).pathname;
      const env = { ...this.#environment, ...settings };
      await using process = new ChildProcess(
        Deno.execPath(),
        ["run", "-A", cli, ...args],
        { env },
      );
      await waitFor(`the command to wait for ${table}`, async () => {
        const rows = await this.sql<WaitingRow[]>`
          select exists (select from pg_locks where not granted
            and relation = ${`royalty.${table}`}::text::regclass) as waiting`;
        return onlyRow(rows, "whether a lock is waited for").waiting;
      });
      await process.stop("SIGKILL");
    });
  }

  /** Without NATS. */
  get #environment() {
    return {
      TWOFOLD_POSTGRES_URL: this.books.url,
      TWOFOLD_ISSUER_POSTGRES_URL: this.books.issuerUrl,
      TWOFOLD_NATS_USER: "",
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
  }
}

function at(text: string): number {
  return Date.parse(text);
}

/** Lines of a CSV without the header, split at commas. */
function cells(csv: string): string[][] {
  return csv.trimEnd().split("\r\n").slice(1).map((line) => line.split(","));
}

/** The amounts of a line. */
interface Stated {
  readonly events: number;
  readonly ms: number;
}

/** Posts events of random lateness over `closes` closes, and compares with a naive model. */
async function assertLateEventsCountOnce(
  rig: CloserRig,
  random: Random,
  firstDay: string,
  closes: number,
): Promise<void> {
  let day = firstDay;
  let from = new BusinessCalendar(rig.zone).endOf(day) - 20 * HOUR_MS;
  const known = new Map<string, Heartbeat>();
  const expected = new Map<string, Stated>();
  for (let closed = 0; closed < closes; closed++) {
    const end = rig.calendar.endOf(day);
    for (let batch = 0; batch < 4; batch++) {
      rig.now = Math.max(rig.now, random.int(from, end + HOUR_MS - 1));
      const arriving = Array.from({ length: random.int(1, 60) }, () => {
        if (known.size > 0 && random.chance(0.3)) return random.pick([...known.values()]);
        const lateMs = random.chance(0.4) ? random.int(0, 3 * DAY_MS) : random.int(0, 60_000);
        return aHeartbeat(random, rig.now - lateMs, { played_ms: random.int(0, 10_000) });
      });
      for (const heartbeat of arriving) {
        if (known.has(heartbeat.event_id)) continue;
        known.set(heartbeat.event_id, heartbeat);
        const watched = rig.calendar.dayOf(heartbeat.ts);
        // The statements begin with the oldest credited day.
        const recognised = closed > 0 && watched < day ? day : watched;
        const key = [recognised, watched, heartbeat.title_id, heartbeat.region].join();
        const sum = expected.get(key) ?? { events: 0, ms: 0 };
        expected.set(key, { events: sum.events + 1, ms: sum.ms + heartbeat.played_ms });
      }
      await rig.post(random.shuffle(arriving));
    }
    if (closed === 0) {
      const oldest = await rig.closer().next();
      assertExists(oldest);
      for (let next = oldest.day; next < day; next = nextDay(next)) await rig.close(next);
    }
    await rig.close(day);
    from = end;
    day = nextDay(day);
  }
  assertEquals(new Map([...await statedOf(rig, day)].sort()), new Map([...expected].sort()));
  const accounts = await readAccounts(rig.sql);
  assertEquals(accounts.disagreements, []);
  assertEquals(accounts.streams[0]?.counted, known.size);
  assertEquals((await rig.command({}, "verify-chain")).code, 0);
}

/** The lines of all statements and of `openDay`; asserts that no line is in two of them. */
async function statedOf(rig: CloserRig, openDay: string) {
  const open = await readDayLines(rig.sql, openDay);
  const stated = new Map(open.map((line) => [
    [openDay, line.eventDay, line.titleId, line.territory].join(),
    { events: Number(line.events), ms: Number(line.msWatched) },
  ]));
  for (const { recognised_day } of await readEntries(rig.sql)) {
    const lines = cells(await rig.csv(recognised_day));
    for (const [type, recognised, watched, , title, territory, events, ms] of lines) {
      assertEquals(recognised, recognised_day);
      assertEquals(type, recognised === watched ? "USAGE" : "ADJUSTMENT");
      const key = [recognised, watched, title, territory].join();
      assert(!stated.has(key), `${key} is stated twice`);
      stated.set(key, { events: Number(events), ms: Number(ms) });
    }
  }
  return stated;
}

Deno.test("days close", async (t) => {
  await using server = await BooksRig.start({ zone: "UTC" });

  for (
    const [zone, firstDay, closes] of [
      // Days of 25 hours, of 23 hours, and a leap day.
      ["America/New_York", "2026-10-30", 8],
      ["Europe/Berlin", "2027-03-26", 4],
      ["UTC", "2028-02-27", 4],
    ] as const
  ) {
    await t.step(`late events count once, over ${closes} closes from ${firstDay}`, async () => {
      await using rig = await CloserRig.start(server, zone);
      const random = propertyRandom(`late events over closes in ${zone}`);
      await assertLateEventsCountOnce(rig, random, firstDay, closes);
    });
  }

  await t.step(
    "a clock that is hours wrong is late, adjusted or set aside, and accounted for",
    async () => {
      await using rig = await CloserRig.start(server);
      const random = new Random(17);
      rig.now = at("2026-11-22T12:00:00Z");
      const watched = (hours: number, played_ms: number) =>
        aHeartbeat(random, rig.now + hours * HOUR_MS, { played_ms, title_id: "t", region: "de" });
      // Ten hours behind is still the same day; two ahead, or a year behind, is no time to pay for.
      await rig.post([watched(0, 1), watched(-10, 20), watched(2, 300), watched(-24 * 365, 4_000)]);
      await rig.close("2026-11-22");
      // In the small hours of the next day, five hours behind is the day that is closed.
      rig.now = at("2026-11-23T02:00:00Z");
      await rig.post([watched(0, 5_000), watched(-5, 6_000)]);
      await rig.close("2026-11-23");
      const amounts = async (day: string) =>
        cells(await rig.csv(day)).map(([type, , watchedOn, , , , events, ms]) =>
          [type, watchedOn, events, ms].join()
        );
      assertEquals(await amounts("2026-11-22"), ["USAGE,2026-11-22,2,21"]);
      assertEquals(await amounts("2026-11-23"), [
        "USAGE,2026-11-23,1,5000",
        "ADJUSTMENT,2026-11-22,1,6000",
      ]);
      const { streams, quarantined_unresolved } = await rig.manifest("2026-11-22");
      assertEquals([streams[0].counted, streams[0].quarantined, streams[0].last_seq], [2, 2, 4]);
      assertEquals(quarantined_unresolved, {
        entries: 2,
        ms_at_risk: 4_300,
        by_reason: [
          { reason: "from_the_future", entries: 1, readable: 1, ms_at_risk: 300 },
          { reason: "too_late", entries: 1, readable: 1, ms_at_risk: 4_000 },
        ],
      });
    },
  );

  await t.step("a close during postings counts every event in exactly one statement", async () => {
    await using rig = await CloserRig.start(server);
    const random = new Random(7);
    const noon = at("2026-11-22T12:00:00Z");
    rig.now = noon;
    await rig.post([aHeartbeat(random, noon)]);
    rig.now = at("2026-11-23T01:00:00Z");
    let done = false;
    const events: Heartbeat[] = [];
    const posting = (async () => {
      while (!done) {
        const batch = Array.from({ length: 20 }, () => aHeartbeat(random, noon));
        events.push(...batch);
        await rig.post(batch);
      }
    })();
    // Everything posted so far was received after the grace.
    const racing = rig.closer({ streamEnds: () => Promise.resolve(new Map()) });
    const outcomes = await Promise.all([
      racing.close("2026-11-22", BY),
      racing.close("2026-11-22", BY),
      racing.close("2026-11-22", BY),
    ]);
    while (events.length < 400) await rig.session.position();
    done = true;
    await posting;
    assertEquals(outcomes.map(({ outcome }) => outcome).sort(), [
      "closed",
      "closed before",
      "closed before",
    ]);
    const [manifestSha256, ...others] = new Set(
      outcomes.map(({ statement }) => statement.manifestSha256),
    );
    assertEquals(others, []);
    await rig.close("2026-11-23");
    const [first, second] = [await rig.manifest("2026-11-22"), await rig.manifest("2026-11-23")];
    assertEquals(first.total_events + second.total_events, events.length + 1);
    assertEquals(second.adjustments.events, second.total_events);
    assertEquals(second.streams[0].first_seq, first.streams[0].last_seq + 1);
    assertEquals(second.previous.sha256, manifestSha256);
  });

  await t.step("a close waits for the posting in progress and includes it", async () => {
    await using rig = await CloserRig.start(server);
    const noon = at("2026-11-22T12:00:00Z");
    rig.now = noon;
    const first = aHeartbeat(new Random(14), noon);
    const second = aHeartbeat(new Random(15), noon);
    await rig.post([first]);
    const streamEnds = () => Promise.resolve(new Map([["HEARTBEATS", 3]]));
    const under = await rig.sql.begin(async (tx) => {
      // Keys can be inserted and credits have to wait: the middle of the posting's transaction.
      await tx`lock table royalty.accrual in share mode`;
      const posting = rig.post([second, { ...first, played_ms: 1 }], noon);
      await waitFor("the posting to wait for the credits", () => rig.waiting(1));
      rig.now = at("2026-11-23T01:00:00Z");
      const closing = rig.closer({ streamEnds }).close("2026-11-22", BY);
      await waitFor("the close to wait for the books", () => rig.waiting(2));
      return { posting, closing };
    });
    await under.posting;
    await under.closing;
    const { total_events, streams, quarantined } = await rig.manifest("2026-11-22");
    assertEquals([total_events, streams[0].last_seq, quarantined], [2, 3, 1]);
  });

  await t.step("a day that closes between plan and commit takes no more credits", async () => {
    await using rig = await CloserRig.start(server);
    const noon = at("2026-11-22T12:00:00Z");
    rig.now = noon;
    const first = aHeartbeat(new Random(16), noon);
    await rig.post([first]);
    rig.now = at("2026-11-23T01:00:00Z");
    let plans = 0;
    await rig.post(
      [aHeartbeat(new Random(17), noon), { ...first, played_ms: 1 }],
      noon,
      0,
      async () => {
        plans += 1;
        if (plans > 1) return;
        const streamEnds = () => Promise.resolve(new Map([["HEARTBEATS", 1]]));
        await rig.closer({ streamEnds }).close("2026-11-22", BY);
      },
    );
    assertEquals(plans, 2);
    await rig.close("2026-11-23");
    const [closed, next] = [await rig.manifest("2026-11-22"), await rig.manifest("2026-11-23")];
    assertEquals([closed.total_events, closed.streams[0].last_seq, closed.quarantined], [1, 1, 0]);
    assertEquals([next.total_events, next.adjustments.events, next.quarantined], [1, 1, 1]);
  });

  await t.step("a refused close says why and changes nothing", async () => {
    await using rig = await CloserRig.start(server);
    const random = new Random(8);
    const noon = at("2026-11-22T12:00:00Z");
    rig.now = noon;
    await rig.post([aHeartbeat(random, noon)]);
    await rig.post([aHeartbeat(random, noon)], noon, 3);
    const refused = async (day: string, text: string, closer = rig.closer()) => {
      const error = await assertRejects(() => closer.close(day, BY), Refused);
      assertStringIncludes(error.message, text);
    };
    await refused("2026-11-22", "its end plus grace is 2026-11-23T01:00:00.000Z");
    rig.now = at("2026-11-24T02:00:00Z");
    await refused("2026-11-23", "close 2026-11-22 first");
    await refused("2026-11-22", "HEARTBEATS lost sequences 2 to 4");
    const behind = () => Promise.resolve(new Map([["HEARTBEATS", 9]]));
    await refused("2026-11-22", "its lag is 4", rig.closer({ streamEnds: behind }));
    const second = new Map([["HEARTBEATS", 5], ["HEARTBEATS_1", 1]]);
    const unread = rig.closer({ streamEnds: () => Promise.resolve(second) });
    await refused("2026-11-22", "HEARTBEATS_1 is posted up to sequence 0", unread);
    assertEquals((await rig.closer().next())?.day, "2026-11-22");
    assertEquals(await rig.sql`select from royalty.seal`.then((rows) => rows.length), 0);

    const settle = (first: string, reason: string) => {
      const gap = ["--stream", "HEARTBEATS", "--first", first];
      return rig.command({}, "settle-gap", ...gap, "--by", "Ada", "--reason", reason);
    };
    const settled = await settle("2", "disk of node 3 lost");
    assertEquals([settled.code, settled.err], [0, ""]);
    const again = { stream: "HEARTBEATS", firstSeq: 2, by: "Bob", reason: "me too", at: rig.now };
    assertEquals((await settleGap(rig.sql, again)).kind, "settled before");
    const none = await settle("77", "x");
    assertEquals(none.code, 1);
    assertStringIncludes(none.err, "no gap that begins at 77; no gap is open");
    await rig.close("2026-11-22");
    const { settled_gaps, streams } = await rig.manifest("2026-11-22");
    assertEquals(settled_gaps.length, 1);
    assertEquals(
      [settled_gaps[0].first_seq, settled_gaps[0].last_seq, settled_gaps[0].by],
      [2, 4, "Ada"],
    );
    assertEquals([streams[0].counted, streams[0].gaps, streams[0].last_seq], [2, 3, 5]);
    await rig.close("2026-11-23");
    assertEquals((await rig.manifest("2026-11-23")).settled_gaps, []);
    await refused("2026-11-21", "before the first statement");
    await refused("2026-11-25", "2026-11-24 is still open");
  });

  await t.step(
    "a close that fails in its recount leaves a sealed day, which a later close continues",
    async () => {
      await using rig = await CloserRig.start(server);
      const noon = at("2026-11-22T12:00:00Z");
      rig.now = noon;
      await rig.post([aHeartbeat(new Random(9), noon, { title_id: "t", region: "de" })]);
      const line = { eventDay: "2026-11-22", titleId: "t", territory: "de", events: 1n };
      const recount = (msWatched: bigint) => () =>
        Promise.resolve({ ...TEST_RECOUNT, lines: [{ ...line, msWatched }] });
      const wrong = await assertRejects(
        () => rig.close("2026-11-22", { recount: recount(9_999n) }),
        Refused,
      );
      assertStringIncludes(
        wrong.message,
        "2026-11-22 de t: the books have 1 events and 10000 ms, the recount 1 events and 9999 ms",
      );
      const gone = () => Promise.reject(new Refused("HEARTBEATS keeps raw heartbeats since noon"));
      await assertRejects(
        () => rig.close("2026-11-22", { recount: gone }),
        Refused,
        "close with --without-recount REASON --by PERSON",
      );
      // Has the effect of a kill during the recount.
      const killed = () => Promise.reject(new Error("killed"));
      await assertRejects(() => rig.close("2026-11-22", { recount: killed }), Error, "killed");
      await assertRejects(() => rig.close("2026-11-23"), Refused, "2026-11-22 is still open");
      assertEquals((await rig.closer().next())?.day, "2026-11-22");
      // Events posted now are recognised on the next day.
      await rig.post([aHeartbeat(new Random(10), noon)]);
      await rig.close("2026-11-22", { recount: recount(10_000n) });
      const manifest = await rig.manifest("2026-11-22");
      const { deviceLoss, ...told } = TEST_RECOUNT;
      assertEquals(manifest.recount, { ...told, device_loss: deviceLoss, events: 1, ms: 10_000 });
      assertEquals([manifest.total_events, manifest.streams[0].last_seq], [1, 1]);
      const broken = await rig.command({}, "close", "--day", "2026-11-23");
      assertEquals(broken.code, 2);
      const closed = await rig.closer({ recount: killed }).close(
        "2026-11-23",
        {
          by: "Ada",
          asOfMs: at("2026-11-24T01:00:00Z"),
          reason: "it is over",
          withoutRecount: "raw heartbeats are gone",
        },
      );
      assertEquals(closed.outcome, "closed");
      const { recount: note, adjustments } = await rig.manifest("2026-11-23");
      assertEquals(note, { waived_by: "Ada", reason: "raw heartbeats are gone" });
      assertEquals(adjustments, { rows: 1, events: 1, ms: 10_000 });
    },
  );

  await t.step("a close that was killed at any step can be run again", async () => {
    await using rig = await CloserRig.start(server);
    await using workspace = await Workspace.temporary();
    const random = new Random(16);
    const noon = at("2026-11-22T12:00:00Z");
    const afterGrace = at("2026-11-23T02:00:00Z");
    rig.now = noon;
    await rig.post(Array.from({ length: 500 }, () => aHeartbeat(random, noon)));
    // Received after the grace, so that the day may close without NATS.
    await rig.post([aHeartbeat(random, afterGrace)], afterGrace);
    const settings = { TWOFOLD_STATEMENTS_DIR: `${workspace.folder}/statements` };
    const waiver = ["--without-recount", "no NATS in this test", "--by", "Ada"];
    const close = ["close", "--day", "2026-11-22", ...waiver];
    // Number of seals that each kill leaves.
    const kills = { books: 0, seal_quarantined: 0, statement: 1, statement_line: 1 };
    for (const [table, seals] of Object.entries(kills)) {
      await rig.killWhenItWaitsFor(table, settings, close);
      const rows = await rig.sql<LeftRow[]>`
        select (select count(*)::int from royalty.seal) as seals,
          (select count(*)::int from royalty.statement) as statements`;
      const left = onlyRow(rows, "what the kill left");
      assertEquals([table, left.seals, left.statements], [table, seals, 0]);
    }
    const closed = await rig.command(settings, ...close);
    assertEquals(closed.code, 0, closed.err);
    assertStringIncludes(
      (await rig.command(settings, ...close)).out,
      "2026-11-22 was closed before",
    );
    const { total_events, streams } = await rig.manifest("2026-11-22");
    assertEquals([total_events, streams[0].last_seq, streams[0].counted], [500, 501, 501]);
    assertStringIncludes(
      (await rig.command(settings, "verify-chain")).out,
      "the chain holds: 1 statements and their files",
    );
  });

  await t.step(
    "a close fails when Postgres stops, and a later one issues the statement",
    async () => {
      await using rig = await CloserRig.start(server);
      const noon = at("2026-11-22T12:00:00Z");
      rig.now = noon;
      await rig.post([aHeartbeat(new Random(11), noon)]);
      const lines = await readDayLines(rig.sql, "2026-11-22");
      const stopping = async () => {
        await server.stack.postgres.stop("SIGQUIT");
        return { ...TEST_RECOUNT, lines };
      };
      rig.now = at("2026-11-23T01:00:00Z");
      const ends = { streamEnds: () => Promise.resolve(new Map([["HEARTBEATS", 1]])) };
      await assertRejects(() => rig.closer({ ...ends, recount: stopping }).close("2026-11-22", BY));
      await server.stack.postgres.start();
      assertEquals((await rig.closer(ends).close("2026-11-22", BY)).outcome, "closed");
      assertEquals((await rig.closer(ends).close("2026-11-22", BY)).outcome, "closed before");
    },
  );

  await t.step("a reissue is a new version, and the earlier one is not changed", async () => {
    await using rig = await CloserRig.start(server);
    const noon = at("2026-11-22T12:00:00Z");
    rig.now = noon;
    const random = new Random(12);
    await rig.post([
      aHeartbeat(random, noon, { title_id: "=1+1", region: "de" }),
      aHeartbeat(random, noon, { title_id: "b,c", region: "de" }),
      aHeartbeat(random, noon, { title_id: "d", region: "de" }),
      '{"v":1,"played_ms":777}',
      "not json",
    ]);
    await rig.close("2026-11-22");
    await rig.close("2026-11-23");
    const old = await rig.csv("2026-11-22");
    await assertRejects(
      () => rig.closer().reissue("2026-11-22", { ...BY, accept: "", reason: "why" }),
      Refused,
      "same as version 1",
    );
    await assertRejects(
      () => rig.closer().reissue("2026-11-24", { ...BY, accept: "", reason: "why" }),
      Refused,
      "no statement",
    );
    await putCatalogue(rig.sql, [rightTo("=1+1", "Zeta"), rightTo("d", "Acme")], FROM_ADA);
    const preview = await rig.closer().previewReissue("2026-11-22");
    assertEquals([preview.isSame, preview.movedLines], [false, 2]);
    await putCatalogue(rig.sql, [rightTo("=1+1", "Alpha")], FROM_ADA);
    await putCatalogue(rig.sql, [rightTo("=1+1", "Zeta")], FROM_ADA);
    const reissue = ["reissue", "--day", "2026-11-22"];
    const why = [...BY_ADA, "--reason", "studio of =1+1 was missing"];
    const unseen = await rig.command({}, ...reissue, "--accept", "0".repeat(64), ...why);
    assertEquals(unseen.code, 1);
    assertStringIncludes(unseen.err, `would be ${preview.sha256}`);
    const dry = await rig.command({}, ...reissue, "--dry-run");
    assertEquals([dry.code, dry.err], [0, ""]);
    assertStringIncludes(dry.out, "2026-11-22  Zeta");
    assertStringIncludes(dry.out, preview.sha256);
    assertEquals((await rig.manifest("2026-11-22")).version, 1);
    const reissued = await rig.command({}, ...reissue, "--accept", preview.sha256, ...why);
    assertEquals([reissued.code, reissued.err], [0, ""]);
    assertEquals(await rig.csv("2026-11-22", 1), old);
    assertEquals(
      cells(await rig.csv("2026-11-22")).map(([, , , studio, title]) => [studio, title]),
      [["Acme", "d"], ["Zeta", "'=1+1"], ["UNMAPPED", '"b']],
    );
    assertEquals((await rig.command({}, "verify-chain")).code, 0);
    const [first, second] = [await rig.manifest("2026-11-22", 1), await rig.manifest("2026-11-22")];
    assertEquals(second.replaces.version, 1);
    assertEquals(second.replaces.reason, "studio of =1+1 was missing");
    assertEquals(second.previous.recognised_day, "2026-11-23");
    assertEquals(second.streams, first.streams);
    assertEquals(first.quarantined, 2);
    assertEquals(first.quarantined_unresolved, {
      entries: 2,
      ms_at_risk: 777,
      by_reason: [
        { reason: "malformed", entries: 1, readable: 1, ms_at_risk: 777 },
        { reason: "not_json", entries: 1, readable: 0, ms_at_risk: 0 },
      ],
    });
    const empty = await rig.manifest("2026-11-23");
    assertEquals([empty.row_count, empty.total_ms, empty.quarantined], [0, 0, 0]);
    assertEquals(cells(await rig.csv("2026-11-23")), []);

    const exported = await rig.command({}, "export", "--day", "2026-11-22", "--version", "1");
    assertEquals([exported.out, exported.err], [old, ""]);
    const unknown = await rig.command({}, "export", "--day", "2026-11-22", "--version", "3");
    assertEquals(unknown.code, 1);
    assertStringIncludes(unknown.err, "has no version 3; it has 1, 2");
    const open = await rig.command({}, "export", "--day", "2026-11-24");
    assertEquals(open.code, 0);
    assertStringIncludes(open.err, "2026-11-24 is not closed; these lines are provisional");
  });

  await t.step("statement files are written, restored and verified", async () => {
    await using rig = await CloserRig.start(server);
    await using workspace = await Workspace.temporary();
    const folder = `${workspace.folder}/statements`;
    rig.now = at("2026-11-22T12:00:00Z");
    await rig.post([aHeartbeat(new Random(13), rig.now)]);
    // A file in place of the folder makes every write fail.
    await Deno.writeTextFile(folder, "");
    const closer = { files: new StatementFiles(folder) };
    const { filesMissing } = await rig.close("2026-11-22", closer);
    assertStringIncludes(filesMissing ?? "", "The statement is safe in Postgres");
    await Deno.remove(folder);
    await rig.close("2026-11-23", closer);
    assertEquals(await rig.closer(closer).restoreFiles(), 1);
    assertEquals(await rig.closer(closer).restoreFiles(), 0);
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    assertEquals(names, [
      "statement-2026-11-22-v1.csv",
      "statement-2026-11-22-v1.manifest.json",
      "statement-2026-11-23-v1.csv",
      "statement-2026-11-23-v1.manifest.json",
    ]);
    const settings = { TWOFOLD_STATEMENTS_DIR: folder };
    const whole = await rig.command(settings, "verify-chain");
    assertEquals([whole.code, whole.err], [0, ""]);
    assertStringIncludes(whole.out, "the chain holds: 2 statements and their files");
    await Deno.writeTextFile(`${folder}/${names[0]}`, "x", { append: true });
    await server.stack.tamper((tx) =>
      tx`update royalty.statement_line set ms_watched = ms_watched + 1`
    );
    const broken = await rig.command(settings, "verify-chain");
    assertEquals(broken.code, 1);
    assertStringIncludes(broken.out, "has other bytes than Postgres");
    assertStringIncludes(broken.out, "2026-11-22 version 1: sum of ms is");
    const again = await rig.command(settings, "close", "--day", "2026-11-22", "--by", "Ada");
    assertEquals(again.code, 1);
    assertStringIncludes(again.err, "it is not overwritten");
  });

  await t.step("wrong arguments are reported with the option and the reason", async () => {
    await using rig = await CloserRig.start(server);
    rig.now = at("2026-11-24T00:00:00Z");
    const cases: [string[], number, string][] = [
      [["close"], 2, "--day YYYY-MM-DD is missing"],
      [["close", "--day", "2026-02-30"], 2, "--day 2026-02-30 is not a day"],
      [["close", "--day", "2026-11-22", "--as-of", "tomorrow"], 2, "is not an instant"],
      [["close", "--day", "2026-11-22"], 2, "--by PERSON is missing"],
      [["close", "--day", "2099-01-01", ...BY_ADA], 1, "its end plus grace is 2099-01-02T01:00"],
      [
        ["close", "--day", "2099-01-01", "--as-of", "2099-01-03T00:00Z", ...BY_ADA],
        1,
        "seven days ahead",
      ],
      [["close", "--day", "1999-01-01", ...BY_ADA], 1, "more than a year ago"],
      [["reissue", "--day", "2026-11-22"], 2, "--accept HASH, --by PERSON and --reason TEXT are"],
      [["reissue", "--day", "2026-11-22", "--dry-run", ...BY_ADA], 2, "--dry-run changes nothing"],
      [["reissue", "--day", "2026-11-22", "--reason", " x"], 2, '--reason " x" must be 1 to 200'],
      [["reissue", "--day", "2026-11-22", "--dry-run"], 1, "has no statement to issue again"],
      [["export", "--day", "2026-11-22", "--version", "0"], 2, "--version 0 is not a whole"],
      [["settle-gap", "--stream", "S", "--first", "1x"], 2, "--first 1x is not a whole number"],
      [["verify-chain", "now"], 2, "unexpected argument now"],
    ];
    await Promise.all(cases.map(async ([args, code, text]) => {
      const outcome = await rig.command({}, ...args);
      assertEquals([args, outcome.code], [args, code]);
      assertStringIncludes(outcome.err, text);
    }));
    assertStringIncludes(
      (await rig.command({}, "verify-chain")).out,
      "the chain holds: 0 statements",
    );
  });
});
