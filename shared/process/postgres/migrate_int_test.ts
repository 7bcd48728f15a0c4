import { assertEquals, assertExists, assertRejects } from "@std/assert";
import type { Sql } from "postgres";
import { PostgresStack } from "../../dev/servers/stack.ts";
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
    name: "migrations are applied once and in order, later ones too",
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
    name: "a failing migration rolls back the pending ones before it too",
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
    name: "an older version refuses a newer schema and says what to do",
    check: async (sql) => {
      await migrate(sql, "triage", [FIRST, SECOND]);
      const error = await assertRejects(() => migrate(sql, "triage", [FIRST]), Stop, "002_second");
      assertEquals(error.message.endsWith("Start the newer version."), true, error.message);
    },
  },
];

Deno.test("migrations", async (test) => {
  await using stack = await PostgresStack.start();
  const url = stack.databaseUrl("triage");
  const connect = () => openPool(url, { purpose: "test", max: 1 });
  for (const { name, check } of checks) {
    await test.step(name, async () => {
      const sql = connect();
      await sql`drop table if exists triage.a, triage.b, triage.migration`;
      await check(sql, connect);
      await sql.end();
    });
  }
});

Deno.test("readMigrations reads numbered SQL files only, in the order of their numbers", async () => {
  const folder = await Deno.makeTempDir();
  const files = ["010_later.sql", "002_second.sql", "notes.md", "2_short.sql", "001_first.sql~"];
  for (const file of files) await Deno.writeTextFile(`${folder}/${file}`, `-- ${file}`);
  assertEquals(await readMigrations(new URL(`file://${folder}/`)), [
    { name: "002_second", sql: "-- 002_second.sql" },
    { name: "010_later", sql: "-- 010_later.sql" },
  ]);
  await Deno.remove(folder, { recursive: true });
});
