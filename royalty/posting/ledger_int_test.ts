/**
 * The books against a real Postgres: what a transaction enters, and what it refuses to.
 *
 * @module
 */
import { assertEquals, assertExists, assertRejects } from "@std/assert";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { PostgresServer } from "../../shared/dev/servers/postgres_server.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { createDatabase, DATABASE, DEV_PASSWORD } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { Workspace } from "../../shared/dev/servers/workspace.ts";
import { RetryAfter, Stop } from "../../shared/process/errors.ts";
import { stateOf } from "../../shared/process/postgres/passing.ts";
import { accrue } from "./accrue.ts";
import type { Position } from "../books/accounts.ts";
import { connectBooks, openBooks } from "../books/connection.ts";
import { LedgerSession, PositionMoved, type Posting } from "./ledger.ts";

const NOW = Date.UTC(2026, 10, 22, 12);
const RULES = {
  dayOf: (instant: number) => new Date(instant).toISOString().slice(0, 10),
  latenessHorizonMs: 7 * 86_400_000,
  futureToleranceMs: 300_000,
};

/** Plans and commits at once. */
async function post(session: LedgerSession, posting: Posting): Promise<Position> {
  const outcome = await session.commit(posting, await session.plan(posting));
  if (outcome.kind === "outdated") throw new Error("a day closed between plan and commit");
  return outcome.position;
}

interface KeysRow {
  readonly keys: number;
}

function posting(random: Random, after: number, count: number): Posting {
  const deliveries = Array.from({ length: count }, (_, i) => ({
    bytes: encode(aHeartbeat(random, NOW)),
    sequence: after + i + 1,
    receivedAt: NOW,
    redelivered: false,
  }));
  return {
    stream: "HEARTBEATS",
    after,
    through: { lastSeq: after + count, lastReceivedAt: NOW },
    claims: accrue(deliveries, RULES).claims,
    refusals: [],
    gaps: [],
  };
}

Deno.test("the ledger", async (t) => {
  await using workspace = await Workspace.temporary();
  const server = await PostgresServer.start(workspace);
  await createDatabase(server);
  const url = server.url(DATABASE, "royalty", DEV_PASSWORD);
  const random = new Random(1);
  const sql = connectBooks(url);

  await t.step("opens from several processes at once, in one zone for good", async () => {
    await Promise.all([1, 2, 3].map(() => openBooks(url, "Europe/Berlin")));
    const error = await assertRejects(() => openBooks(url, "UTC"), Stop);
    assertEquals(error.message.includes("kept in the zone Europe/Berlin"), true);
  });

  await t.step(
    "of two sessions one leads, and the end of its connection frees the lead",
    async () => {
      await using second = new LedgerSession(url, "HEARTBEATS");
      {
        await using first = new LedgerSession(url, "HEARTBEATS");
        assertEquals([await first.lead(), await second.lead()], [true, false]);
        await using other = new LedgerSession(url, "HEARTBEATS_1");
        assertEquals(await other.lead(), true);
        await sql`select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'`;
        await waitFor("the first to know that it does not lead any more", async () => {
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
    // Both without the lead and at once: the row lock alone has to keep them apart.
    const outcomes = await Promise.allSettled([post(first, one), post(second, two)]);
    const failed = outcomes.filter((outcome) => outcome.status === "rejected");
    assertEquals(failed.map(({ reason }) => reason instanceof PositionMoved), [true]);
    const position = await first.position();
    assertEquals(position.counted, position.lastSeq);
    const keys = await sql<KeysRow[]>`select count(*)::int as keys from royalty.event_key`;
    assertEquals([...keys], [{ keys: position.lastSeq }]);
  });

  await t.step("a plan that is not committed enters and holds nothing", async () => {
    await using session = new LedgerSession(url, "HEARTBEATS");
    await using other = new LedgerSession(url, "HEARTBEATS");
    const before = await session.position();
    const next = posting(random, before.lastSeq, 10);
    // As when the quarantine takes no copy: the batch comes again.
    const { settlement } = await session.plan(next);
    assertEquals(settlement.counted.length, 10);
    assertEquals(await session.position(), before);
    await post(other, next);
    assertEquals((await session.position()).counted, before.counted + 10);
  });

  await t.step(
    "an id that another stream enters after the plan fails the commit whole",
    async () => {
      await using session = new LedgerSession(url, "HEARTBEATS");
      await using other = new LedgerSession(url, "HEARTBEATS_1");
      const [before, elsewhere] = [await session.position(), await other.position()];
      const next = posting(random, before.lastSeq, 10);
      const plan = await session.plan(next);
      const [claim] = next.claims;
      assertExists(claim);
      await post(other, {
        ...next,
        stream: "HEARTBEATS_1",
        after: elsewhere.lastSeq,
        through: { lastSeq: elsewhere.lastSeq + 1, lastReceivedAt: NOW },
        claims: [claim],
      });
      const error = await assertRejects(() => session.commit(next, plan));
      assertEquals(stateOf(error), "23505");
      assertEquals(await session.position(), before);
      const position = await post(session, next);
      assertEquals(
        [position.counted, position.duplicates],
        [before.counted + 9, before.duplicates + 1],
      );
    },
  );

  await t.step(
    "a day that closes after the plan makes it outdated, and another one holds",
    async () => {
      await using session = new LedgerSession(url, "HEARTBEATS");
      const before = await session.position();
      const next = posting(random, before.lastSeq, 5);
      const plan = await session.plan(next);
      await sql`update royalty.books set oldest_open_day = '2026-11-24'::date`;
      assertEquals(await session.commit(next, plan), { kind: "outdated" });
      assertEquals(await session.position(), before);
      assertEquals((await post(session, next)).counted, before.counted + 5);
      assertEquals(await session.plan(next).then((again) => again.oldestOpenDay), "2026-11-24");
    },
  );

  await t.step("no transaction can break the accounting identity", async () => {
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

  await sql.end();
  await server.stop("SIGQUIT");
});
