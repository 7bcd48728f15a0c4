import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Sql } from "postgres";
import type { PostgresServer } from "../../dev/servers/postgres_server.ts";
import { TcpProxy } from "../../dev/servers/tcp_proxy.ts";
import { waitFor } from "../../dev/testing/wait_for.ts";
import { pause } from "../retry.ts";
import { migrate, readMigrations } from "./migrate.ts";
import { messageOf, RetryAfter } from "../errors.ts";
import { arrayOf, textArrayOf } from "./array_literal.ts";
import { runFormatted } from "./formatted.ts";
import { isTransient } from "./transient.ts";
import { allowSilence, openPool, openSession, type PoolOptions } from "./pool.ts";
import { PostgresStack } from "../../dev/servers/stack.ts";

const SHORT_MS = 1_000;

/** A server, a proxied link to it, and a superuser's connection without the proxy. */
interface Rig {
  readonly server: PostgresServer;
  readonly link: TcpProxy;
  readonly admin: Sql;
  open(options?: Partial<PoolOptions>): Sql;
  session(): Sql;
  /** Number of backends of `open` and `session` whose state matches `state`. */
  count(state?: string): Promise<number>;
  /** Terminates those backends and returns their number. */
  kill(state?: string): Promise<number>;
}

interface SettingRow {
  readonly setting: string;
}

interface ArraysRow {
  readonly texts: string;
  readonly sum: string;
}

interface CommentRow {
  readonly name: string;
  readonly comment: string;
}

type Check = (rig: Rig) => Promise<void>;

const checks: Readonly<Record<string, Check>> = {
  "every connection has the common and its own settings": async (rig) => {
    const sql = rig.open({ settings: { enable_seqscan: "off" } });
    const names = ["DateStyle", "TimeZone", "search_path", "enable_seqscan", "application_name"];
    const rows = await sql<SettingRow[]>`
      select current_setting(name) as setting from unnest(${
      textArrayOf(names)
    }::text::text[]) as name`;
    assertEquals(rows.map(({ setting }) => setting), [
      "ISO, YMD",
      "UTC",
      "pg_catalog, pg_temp",
      "off",
      "twofold-test",
    ]);
    await sql.end();
  },

  "the migrations of both services need no search path": async (rig) => {
    const sql = rig.open();
    for (const [schema, folder] of [["royalty", "royalty"], ["triage", "dlq-triage"]] as const) {
      const url = new URL(`../../../${folder}/migrations/`, import.meta.url);
      const migrations = await readMigrations(url);
      assertEquals((await migrate(sql, schema, migrations)).length, migrations.length);
    }
    await sql.end();
  },

  "array literals are sent as parameters": async (rig) => {
    const sql = rig.open();
    const texts = ["plain", 'quo"te', "back\\slash", "com,ma", "{brace}", "", "null", undefined];
    const [row] = await sql<ArraysRow[]>`
      select to_json(${textArrayOf(texts)}::text::text[])::text as texts,
        (select sum(n) from unnest(${arrayOf([1, 2 ** 40])}::text::bigint[]) n)::text as sum`;
    const sent = texts.map((text) => text ?? null);
    assertEquals([JSON.parse(row?.texts ?? ""), row?.sum], [sent, String(2 ** 40 + 1)]);
    await sql.end();
  },

  "statements without parameters are quoted by the server": async (rig) => {
    const sql = rig.open();
    const name = `o'ne "table" \\`;
    await runFormatted(sql, "create table public.%I (n int)", name);
    await runFormatted(sql, "comment on table public.%I is %L", name, "it's \\ %I");
    const [row] = await sql<CommentRow[]>`
      select relname as name, obj_description(oid) as comment from pg_class
      where relname like ${"o'ne%"}`;
    assertEquals(row && { ...row }, { name, comment: "it's \\ %I" });
    await runFormatted(sql, "drop table public.%I", name);
    await sql.end();
  },

  "a silent link fails transactions and queued queries, and the pool recovers": async (rig) => {
    const sql = rig.open({ max: 2 });
    await Promise.all([sql`select pg_sleep(0.1)`, sql`select pg_sleep(0.1)`]);
    const transaction = sql.begin(async (tx) => {
      await tx`select 1`;
      rig.link.silence();
      await tx`select ${1}::int`;
    });
    await waitFor("silence", async () => (await rig.admin`select 1`).length);
    const waiting = [1, 2, 3].map((n) => sql`select ${n}::int`);
    const failures = await Promise.all(
      [transaction, ...waiting].map((each) => within(3 * SHORT_MS, each.then(String, messageOf))),
    );
    assert(failures[0]?.includes("no byte came for 1 s"), failures[0]);
    // New connections fail too.
    await within(7_000, assertRejects(async () => await sql`select 1`, RetryAfter, "no byte came"));
    rig.link.heal();
    assertEquals([...await sql`select 1 as one`], [{ one: 1 }]);
    await within(2_000, sql.end());
  },

  "an idle session on a silent link fails at its next use and can be ended": async (rig) => {
    const session = rig.session();
    await session`select pg_advisory_lock(1)`;
    rig.link.silence();
    const attempt = assertRejects(async () => await session`select 1`, RetryAfter, "no byte");
    await within(3 * SHORT_MS, attempt);
    rig.link.heal();
    await assertRejects(async () => await session`select 1`, RetryAfter, "was lost before");
    await within(100, session.end({ timeout: 2 }));
  },

  "the end of a pool on a silent link is bounded": async (rig) => {
    const sql = rig.open({ max: 2 });
    await sql`select 1`;
    rig.link.silence();
    await within(2_000, sql.end());
    rig.link.heal();
  },

  "waiting for a lock counts as silence, unless allowSilence raises the limit": async (rig) => {
    const sql = rig.open({ max: 2 });
    const lock = () => sql.begin((tx) => tx`select pg_advisory_xact_lock(7), 1 as had`);
    const had = await rig.admin.begin(async (tx) => {
      await tx`select pg_advisory_xact_lock(7)`;
      await assertRejects(lock, RetryAfter, "no byte came for 1 s");
      const waiting = allowSilence(sql, 10_000, lock);
      // No sleep: the lock is held for longer than silence may last.
      await pause(3 * SHORT_MS);
      return { waiting };
    });
    assertEquals((await had.waiting)[0]?.had, 1);
    await sql.end();
  },

  "arriving rows and a slow reader do not count as silence": async (rig) => {
    const sql = rig.open({ max: 1 });
    let rows = 0;
    await sql`select n, pg_sleep(0.3) from generate_series(1, 6) as n`.cursor(2, async (some) => {
      rows += some.length;
      // No sleep: a reader slower than silence may last.
      if (rows === 2) await pause(2 * SHORT_MS);
    });
    assertEquals(rows, 6);
    await sql.begin(async (tx) => {
      await tx`select 1`;
      // No sleep: the transaction is idle for longer than silence may last.
      await pause(2 * SHORT_MS);
      await tx`select 1`;
    });
    await sql.end();
  },

  "time in which this process is busy does not count as silence": async (rig) => {
    const sql = rig.open();
    await sql`select 1`;
    const answer = sql`select 1 as one`;
    answer.execute();
    // No sleep: the query leaves before this process is busy.
    await pause(1);
    for (const end = performance.now() + 3 * SHORT_MS; performance.now() < end;);
    assertEquals([...await answer], [{ one: 1 }]);
    await sql.end();
  },

  "a backend killed during a transaction fails it, and the next one works": async (rig) => {
    const sql = rig.open({ max: 1 });
    for (let round = 0; round < 20; round++) {
      const works: (() => Promise<unknown>)[] = [
        () => sql.begin((tx) => tx`select pg_sleep(5)`),
        () => sql.begin((tx) => tx`select pg_sleep(${5})`),
        () =>
          sql.begin(async (tx) => {
            await tx`select 1`;
            // No sleep: the time in which the backend is killed.
            await pause(200);
            await tx`select ${2}::int`;
          }),
        () => sql.begin((tx) => Promise.all(range(50).map(() => tx`select pg_sleep(0.01)`))),
        () =>
          sql.begin(async (tx) => {
            // No sleep: a slow reader, so that the backend is killed in between.
            await tx`select n from generate_series(1, 100) n`.cursor(10, () => pause(30));
          }),
        () => Promise.all(range(50).map((n) => sql`select pg_sleep(0.01), ${n}::int`)),
      ];
      const work = works[round % works.length];
      if (!work) continue;
      const outcome = work().then(() => undefined, (error) => error);
      // No sleep: the backend is killed at different moments of the work.
      await pause(round < 10 ? 80 : 20);
      await rig.kill();
      const error = await within(2_000, outcome);
      assert(isTransient(error), `${round}: ${messageOf(error)}`);
      assertEquals([...await within(2_000, sql`select ${round}::int as n`)], [{ n: round }]);
    }
    await sql.end();
  },

  "a cursor rejects when its connection is lost during its callback": async (rig) => {
    const sql = rig.open({ max: 1 });
    let rows = 0;
    const reading = sql`select generate_series(1, 1000) as n`.cursor(100, async (some) => {
      rows += some.length;
      if (rows !== 300) return;
      await rig.kill();
      // No sleep: the callback outlasts the connection.
      await pause(100);
    });
    assert(isTransient(await reading.then(() => undefined, (error) => error)));
    assertEquals(rows, 300);
    await sql.end();
  },

  "the loss of an idle connection does not affect the others": async (rig) => {
    const sql = rig.open({ max: 2, silenceMs: 5_000 });
    await Promise.all([sql`select pg_sleep(0.1)`, sql`select pg_sleep(0.1)`]);
    const busy = sql.begin(async (tx) => {
      await tx`select pg_sleep(1)`;
      // No sleep: the transaction goes on while the idle connection is lost.
      await pause(200);
      return await tx`select 1 as one`;
    });
    await waitFor("one at work", async () => (await rig.count("active")) === 1);
    assertEquals(await rig.kill("idle"), 1);
    // No sleep: a query sent before the loss is noticed would fail, together with the other one.
    await pause(100);
    assertEquals([...await sql`select 2 as two`], [{ two: 2 }]);
    assertEquals([...await busy], [{ one: 1 }]);
    await waitFor("the old connection to end", async () => (await rig.count()) === 1);
    await sql.end();
  },

  "queries fail as transient when the link is cut or the server crashes, and work again": async (
    rig,
  ) => {
    const sql = rig.open({ max: 3 });
    const all = () => range(20).map(() => sql`select pg_sleep(0.05)`.then(() => true, isTransient));
    let answers = all();
    // No sleep: some queries are answered and others are not yet.
    await pause(60);
    rig.link.cut();
    assertEquals((await within(5_000, Promise.all(answers))).every(Boolean), true);
    answers = all();
    // No sleep: some queries are answered and others are not yet.
    await pause(60);
    await rig.server.stop("SIGQUIT");
    assertEquals((await within(5_000, Promise.all(answers))).every(Boolean), true);
    await assertRejects(async () => await sql`select 1`, RetryAfter);
    await rig.server.start();
    assertEquals([...await sql`select 1 as one`], [{ one: 1 }]);
    await sql.end();
  },

  "a missing role, a missing database and a refused connection are transient": async (rig) => {
    const known = rig.server.url();
    for (const url of [known.replace("//postgres:", "//nobody:"), rig.server.url("nothing")]) {
      const sql = openPool(url, { purpose: "test", max: 1 });
      const error = await sql`select 1`.then(() => undefined, (error) => error);
      assert(isTransient(error), messageOf(error));
      await within(1_000, sql.end({ timeout: 0 }));
    }
    const refused = openPool("postgres://postgres@127.0.0.1:1/postgres", { purpose: "t", max: 1 });
    await assertRejects(async () => await refused`select 1`, RetryAfter, "ECONNREFUSED");
    await refused.end();
  },
};

Deno.test("connections to Postgres", async (test) => {
  await using stack = await PostgresStack.start();
  const server = stack.postgres;
  for (const [name, check] of Object.entries(checks)) {
    await test.step(name, async () => {
      using link = new TcpProxy(server.port);
      const admin = server.connect();
      await check(rigOf(server, link, admin));
      await admin.end();
    });
  }
});

function rigOf(server: PostgresServer, link: TcpProxy, admin: Sql): Rig {
  const url = server.url().replace(`:${server.port}/`, `:${link.port}/`);
  const common = { purpose: "test", silenceMs: SHORT_MS };
  return {
    server,
    link,
    admin,
    open: (options) => openPool(url, { ...common, max: 1, ...options }),
    session: () => openSession(url, common),
    count: async (state = "%") =>
      (await admin`
        select from pg_stat_activity
        where application_name = 'twofold-test' and state like ${state}`).count,
    kill: async (state = "%") =>
      (await admin`
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'twofold-test' and state like ${state}`).count,
  };
}

function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}

/** The result of `promise`; rejects when it takes longer than `ms`. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  // No sleep: a deadline.
  const timer = setTimeout(() => reject(new Error(`took longer than ${ms} ms`)), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
