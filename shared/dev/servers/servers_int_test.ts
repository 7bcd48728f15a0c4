import { assert, assertEquals } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
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

Deno.test("a server that is killed is reported, and one that is stopped is not", async () => {
  await using workspace = await Workspace.temporary();
  const nats = await NatsServer.start(workspace);
  const reports: string[] = [];
  nats.onCrash((code) => reports.push(`stopped: ${code}`));
  await nats.stop("SIGKILL");
  await nats.start();
  nats.onCrash((code) => reports.push(`killed: ${code}`));
  Deno.kill(nats.pid, "SIGKILL");
  await waitFor("the report", () => reports.includes("killed: 137"));
  assertEquals(reports, ["killed: 137"]);
});
