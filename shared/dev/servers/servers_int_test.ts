import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import postgres from "postgres";
import { NatsServer } from "./nats_server.ts";
import { PostgresServer } from "./postgres_server.ts";
import { waitFor } from "../testing/wait_for.ts";
import { Workspace } from "./workspace.ts";

interface CountRow {
  n: number;
}

Deno.test("embedded servers start, keep their data after a crash, and leave no files", async () => {
  let folder = "";
  {
    await using workspace = await Workspace.temporary();
    folder = workspace.folder;
    const [nats, database] = await Promise.all([
      NatsServer.start(workspace),
      PostgresServer.start(workspace),
    ]);
    const nc = await nats.connect("ops");
    const jsm = await jetstreamManager(nc, { timeout: 500 });
    await jsm.streams.add({ name: "T", subjects: ["t.>"] });
    await nats.stop("SIGKILL");
    await nats.start();
    await waitFor("the stream after the crash", () => jsm.streams.info("T"));
    await nc.close();

    const before = database.connect();
    await before`create table t (n int)`;
    await before.end();
    await database.stop("SIGQUIT");
    await database.start();
    const after = database.connect();
    const [row] = await after<CountRow[]>`select count(*)::int as n from t`;
    assertEquals(row?.n, 0);
    await after.end();
  }
  assert(!(await Deno.stat(folder).then(() => true, () => false)), `${folder} is still there`);
});

interface UserRow {
  usename: string;
}

Deno.test("no account of the machine gets into Postgres without a password", async () => {
  await using workspace = await Workspace.temporary();
  const database = await PostgresServer.start(workspace);
  await assertIsClosed(database);
  const { mode } = await Deno.stat(`${workspace.folder}/postgres.password`);
  assertEquals((mode ?? 0) & 0o077, 0);

  // A cluster of an earlier version, which let everybody in.
  await database.stop();
  const hba = `${workspace.folder}/postgres/pg_hba.conf`;
  await Deno.writeTextFile(hba, "host all all 127.0.0.1/32 trust\n");
  await Deno.remove(`${workspace.folder}/postgres.password`);
  const later = await PostgresServer.start(workspace);
  assertNotEquals(later.passwords.postgres, database.passwords.postgres);
  await assertIsClosed(later);
});

async function assertIsClosed(server: PostgresServer): Promise<void> {
  const sql = server.connect();
  const [row] = await sql<UserRow[]>`select session_user as usename`.finally(() => sql.end());
  assertEquals(row?.usename, "postgres");
  for (const password of ["", "wrong"]) {
    const url = new URL(server.url());
    url.password = password;
    const guess = postgres(url.href, { max: 1 });
    await assertRejects(() => guess`select 1`.finally(() => guess.end()), Error, "password");
  }
}
