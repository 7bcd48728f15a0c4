/**
 * The ledger on a real Postgres: what a transaction enters and what it refuses.
 *
 * @module
 */
import { assertEquals, assertExists, assertRejects } from "@std/assert";
import { aHeartbeat } from "../../shared/dev/testing/heartbeats.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { RetryAfter, Stop } from "../../shared/process/errors.ts";
import { openBooks } from "../books/connection.ts";
import { LedgerSession, PositionMoved, type Posting } from "./ledger.ts";
import { BooksRig, commitPosting, postingOf } from "../../shared/e2e/books_rig.ts";

const NOW = Date.UTC(2026, 10, 22, 12);
const RULES = {
  dayOf: (instant: number) => new Date(instant).toISOString().slice(0, 10),
  latenessHorizonMs: 7 * 86_400_000,
  futureToleranceMs: 300_000,
};

interface KeysRow {
  readonly keys: number;
}

function posting(random: Random, after: number, count: number): Posting {
  const bodies = Array.from({ length: count }, () => aHeartbeat(random, NOW));
  return postingOf({ stream: "HEARTBEATS", after, bodies, receivedAtMs: NOW }, RULES);
}

Deno.test("the ledger", async (t) => {
  await using books = await BooksRig.earlier("001");
  const { url, sql } = books;
  const random = new Random(1);

  await t.step(
    "several processes can open the books at once; their zone cannot be changed",
    async () => {
      await Promise.all([1, 2, 3].map(() => openBooks(url, "Europe/Berlin")));
      const error = await assertRejects(() => openBooks(url, "UTC"), Stop);
      assertEquals(error.message.includes("kept in the zone Europe/Berlin"), true);
    },
  );

  await t.step(
    "one of two sessions leads, and the other can when its connection ends",
    async () => {
      await using second = new LedgerSession(url, "HEARTBEATS");
      {
        await using first = new LedgerSession(url, "HEARTBEATS");
        assertEquals([await first.lead(), await second.lead()], [true, false]);
        await using other = new LedgerSession(url, "HEARTBEATS_1");
        assertEquals(await other.lead(), true);
        await sql`select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'`;
        await waitFor("the first session to notice that it lost the lead", async () => {
          return await first.position().then(() => false, (error) => error instanceof RetryAfter);
        });
      }
      assertEquals(await second.lead(), true);
    },
  );

  await t.step("a posting that does not continue the position enters nothing", async () => {
    await using first = new LedgerSession(url, "HEARTBEATS");
    await using second = new LedgerSession(url, "HEARTBEATS");
    await first.position();
    const [one, two] = [posting(random, 0, 100), posting(random, 0, 80)];
    // Both at once and without the lead, so only the row lock separates them.
    const outcomes = await Promise.allSettled([
      commitPosting(first, one),
      commitPosting(second, two),
    ]);
    const failed = outcomes.filter((outcome) => outcome.status === "rejected");
    assertEquals(failed.map(({ reason }) => reason instanceof PositionMoved), [true]);
    const position = await first.position();
    assertEquals(position.counted, position.lastSeq);
    const keys = await sql<KeysRow[]>`select count(*)::int as keys from royalty.event_key`;
    assertEquals([...keys], [{ keys: position.lastSeq }]);
  });

  await t.step("a plan that is not committed enters nothing and holds no lock", async () => {
    await using session = new LedgerSession(url, "HEARTBEATS");
    await using other = new LedgerSession(url, "HEARTBEATS");
    const before = await session.position();
    const next = posting(random, before.lastSeq, 10);
    // As when the process is killed: the batch is posted again.
    const { settlement } = await session.plan(next);
    assertEquals(settlement.counted.length, 10);
    assertEquals(await session.position(), before);
    await commitPosting(other, next);
    assertEquals((await session.position()).counted, before.counted + 10);
  });

  await t.step(
    "an id that another stream enters after the plan makes the plan outdated",
    async () => {
      await using session = new LedgerSession(url, "HEARTBEATS");
      await using other = new LedgerSession(url, "HEARTBEATS_1");
      const [before, elsewhere] = [await session.position(), await other.position()];
      const next = posting(random, before.lastSeq, 10);
      const plan = await session.plan(next);
      const [claim] = next.claims;
      assertExists(claim);
      await commitPosting(other, {
        ...next,
        stream: "HEARTBEATS_1",
        after: elsewhere.lastSeq,
        through: { lastSeq: elsewhere.lastSeq + 1, lastReceivedAtMs: NOW },
        events: 1,
        claims: [claim],
      });
      assertEquals(await session.commit(next, plan), { kind: "outdated" });
      assertEquals(await session.position(), before);
      const position = await commitPosting(session, next);
      assertEquals(
        [position.counted, position.duplicates],
        [before.counted + 9, before.duplicates + 1],
      );
    },
  );

  await t.step(
    "a day that closes after the plan makes it outdated, and a new plan is committed",
    async () => {
      await using session = new LedgerSession(url, "HEARTBEATS");
      const before = await session.position();
      const next = posting(random, before.lastSeq, 5);
      const plan = await session.plan(next);
      await sql`update royalty.books set oldest_open_day = '2026-11-24'::date`;
      assertEquals(await session.commit(next, plan), { kind: "outdated" });
      assertEquals(await session.position(), before);
      assertEquals((await commitPosting(session, next)).counted, before.counted + 5);
      assertEquals(await session.plan(next).then((again) => again.oldestOpenDay), "2026-11-24");
    },
  );

  await t.step("a constraint enforces the accounting identity", async () => {
    await assertRejects(
      async () => await sql`update royalty.stream_position set counted = counted + 1`,
      Error,
      "accounting_identity",
    );
  });

  await t.step("events of a closed day are recognised on the oldest open one", async () => {
    await sql`update royalty.books set oldest_open_day = '2026-11-25'::date`;
    await using session = new LedgerSession(url, "HEARTBEATS");
    const { lastSeq } = await session.position();
    const next = posting(random, lastSeq, 5);
    const plan = await session.plan(next);
    assertEquals((await session.commit(next, plan)).kind, "committed");
    const days = new Set(plan.settlement.credits.map((c) => `${c.eventDay} ${c.recognisedDay}`));
    assertEquals([...days], ["2026-11-22 2026-11-25"]);
  });
});
