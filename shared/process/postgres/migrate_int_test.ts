import { assertEquals, assertExists, assertRejects } from "@std/assert";
import type { Sql } from "postgres";
import { PostgresServer } from "../../dev/servers/postgres_server.ts";
import { createDatabase, DATABASE, DEV_PASSWORD } from "../../dev/servers/stack.ts";
import { Workspace } from "../../dev/servers/workspace.ts";
import { Stop } from "../errors.ts";
import { migrate, readMigrations } from "./migrate.ts";
import { openPool } from "./pool.ts";

const FIRST = {
  name: "001_first",
  sql: "create table triage.a (n int); insert into triage.a values (1)",
};
const SECOND = { name: "002_second", sql: "alter table triage.a add column m int default 2" };
const BROKEN = {
  name: "003_broken",
  sql: "create table triage.b (n int); select no_such_function()",
};

interface ColumnRow {
  readonly column_name: string;
}

const checks: { name: string; check: (sql: Sql, connect: () => Sql) => Promise<void> }[] = [
  {
    name: "migrations are applied in order, once, and new ones on top",
    check: async (sql) => {
      assertEquals(await migrate(sql, "triage", [FIRST]), ["001_first"]);
      assertEquals(await migrate(sql, "triage", [FIRST]), []);
      assertEquals(await migrate(sql, "triage", [FIRST, SECOND]), ["002_second"]);
      assertEquals([...await sql`select n, m from triage.a`], [{ n: 1, m: 2 }]);
    },
  },
  {
    name: "processes that start at the same time apply each migration once",
    check: async (_, connect) => {
      const pools = Array.from({ length: 8 }, connect);
      const applied = await Promise.all(
        pools.map((pool) => migrate(pool, "triage", [FIRST, SECOND])),
      );
      assertEquals(applied.flat().sort(), ["001_first", "002_second"]);
      const [pool] = pools;
      assertExists(pool);
      assertEquals([...await pool`select n from triage.a`], [{ n: 1 }]);
      await Promise.all(pools.map((pool) => pool.end()));
    },
  },
  {
    name: "a migration that fails leaves nothing behind, not even those before it",
    check: async (sql) => {
      await migrate(sql, "triage", [FIRST]);
      await assertRejects(() => migrate(sql, "triage", [FIRST, SECOND, BROKEN]), Error, "no_such");
      const columns = await sql<ColumnRow[]>`
        select table_name || '.' || column_name as column_name from information_schema.columns
        where table_schema = 'triage' and table_name in ('a', 'b')`;
      assertEquals(columns.map(({ column_name }) => column_name), ["a.n"]);
      assertEquals(await migrate(sql, "triage", [FIRST, SECOND]), ["002_second"]);
    },
  },
  {
    name: "an older version refuses a newer database and says what to do",
    check: async (sql) => {
      await migrate(sql, "triage", [FIRST, SECOND]);
      const error = await assertRejects(() => migrate(sql, "triage", [FIRST]), Stop, "002_second");
      assertEquals(error.message.endsWith("Start the newer version."), true, error.message);
    },
  },
];

Deno.test("migrations", async (test) => {
  await using workspace = await Workspace.temporary();
  const server = await PostgresServer.start(workspace);
  await createDatabase(server);
  const url = server.url(DATABASE, "triage", DEV_PASSWORD);
  const connect = () => openPool(url, { purpose: "test", max: 1 });
  for (const { name, check } of checks) {
    await test.step(name, async () => {
      const sql = connect();
      await sql`drop table if exists triage.a, triage.b, triage.migration`;
      await check(sql, connect);
      await sql.end();
    });
  }
  await server.stop("SIGQUIT");
});

Deno.test("only numbered SQL files of a folder are migrations, in the order of their numbers", async () => {
  const folder = await Deno.makeTempDir();
  const files = ["010_later.sql", "002_second.sql", "notes.md", "2_short.sql", "001_first.sql~"];
  for (const file of files) await Deno.writeTextFile(`${folder}/${file}`, `-- ${file}`);
  assertEquals(await readMigrations(new URL(`file://${folder}/`)), [
    { name: "002_second", sql: "-- 002_second.sql" },
    { name: "010_later", sql: "-- 010_later.sql" },
  ]);
  await Deno.remove(folder, { recursive: true });
});
