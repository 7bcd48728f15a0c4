import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { freePort } from "../dev/servers/free_port.ts";
import { NatsCluster } from "../dev/servers/cluster/nats_cluster.ts";
import { PostgresServer } from "../dev/servers/postgres_server.ts";
import { ServiceProcess } from "../dev/servers/service_process.ts";
import { NatsStack } from "../dev/servers/stack.ts";
import { Workspace } from "../dev/servers/workspace.ts";
import { runTask, startTask } from "../dev/testing/child_process.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { openPool } from "../process/postgres/pool.ts";

/** What the small servers of tests can hold. */
const SMALL = {
  TWOFOLD_HEARTBEATS_MAX_BYTES: String(1024 ** 3),
  TWOFOLD_QUARANTINE_MAX_BYTES: String(1024 ** 3),
};

const PASSWORDS = {
  TWOFOLD_POSTGRES_ROYALTY_PASSWORD: "secret-royalty",
  TWOFOLD_POSTGRES_ISSUER_PASSWORD: "secret-issuer",
  TWOFOLD_POSTGRES_TRIAGE_PASSWORD: "secret-triage",
  TWOFOLD_POSTGRES_FINANCE_PASSWORD: "secret-finance",
};

/** The URL of `user` for `database`. */
function urlOf(server: PostgresServer, user: string, database: string): string {
  return `postgres://${user}:secret-${user}@127.0.0.1:${server.port}/${database}`;
}

/** Makes a role as the admin of a managed Postgres is: no superuser. */
async function managed(server: PostgresServer, name: string): Promise<void> {
  const sql = server.connect();
  await sql.unsafe(`create role ${name} login createrole createdb password 'secret-${name}'`);
  await sql.end();
}

Deno.test("an admin who is no superuser provisions a managed Postgres", async () => {
  await using stack = await NatsStack.start();
  const server = await PostgresServer.start(stack.workspace);
  await managed(server, "admin");
  const env = {
    ...stack.settings("ops"),
    ...SMALL,
    ...PASSWORDS,
    TWOFOLD_POSTGRES_ADMIN_URL: urlOf(server, "admin", "twofold"),
  };
  for (const _ of ["makes it", "changes nothing"]) {
    const { code, out, err } = await runTask("provision", [], env);
    assertEquals(code, 0, err);
    assertStringIncludes(out, "roles  royalty, issuer, triage and finance are ready in Postgres");
  }
  const royalty = await ServiceProcess.start(stack.workspace, "royalty", {
    httpPort: freePort(),
    reach: [stack.nats.url, `127.0.0.1:${server.port}`],
    settings: {
      ...stack.settings("royalty"),
      TWOFOLD_STATEMENTS_DIR: `${stack.workspace.folder}/statements`,
      TWOFOLD_RECOUNT_DIR: `${stack.workspace.folder}/recount`,
      TWOFOLD_POSTGRES_URL: urlOf(server, "royalty", "twofold"),
      TWOFOLD_ISSUER_POSTGRES_URL: urlOf(server, "issuer", "twofold"),
    },
  });
  await royalty.stop();
  const triage = openPool(urlOf(server, "triage", "twofold"), { purpose: "test", max: 1 });
  await assertRejects(() => triage`select * from royalty.stream_position`, Error, "permission");
  await triage.end();

  // Another admin does not own what the first one made.
  await managed(server, "other");
  const other = await runTask("provision", ["--wait", "2"], {
    ...env,
    TWOFOLD_POSTGRES_ADMIN_URL: urlOf(server, "other", "twofold"),
  });
  assertEquals(other.code, 1);
  assertMatch(other.err, /^provision: Postgres refuses the admin .*has to own the database.*\)$/m);
  await server.stop("SIGQUIT");
});

Deno.test("provision waits for JetStream, says so, and gives up when told", async () => {
  await using workspace = await Workspace.temporary();
  using cluster = await NatsCluster.start(workspace, 3);
  const [first, ...others] = cluster.nodes;
  assert(first);
  // One of three nodes has no leader.
  for (const each of others) await each.stop();
  const env = { ...first.settings("ops"), ...SMALL, TWOFOLD_REPLICAS: "3" };
  const { code, err } = await runTask("provision", ["--wait", "2"], env);
  assertEquals(code, 1);
  assertMatch(err, /^provision: given up after 2 s: JetStream does not answer ops .*no leader/m);

  await using waiting = startTask("provision", ["--wait", "120"], env);
  await waitFor("it to say so", () => waiting.err.includes("JetStream does not answer ops"), {
    timeoutMs: 60_000,
  });
  await Promise.all(others.map((each) => each.start()));
  const result = await waiting.ended;
  assertEquals(result.code, 0, result.err);
  assert(result.out.includes("changed  stream HEARTBEATS: missing"), result.out);
  await Promise.all(cluster.nodes.map((each) => each.stop()));
});
