/**
 * A node that is cut off from its cluster is left within seconds, also by the connections that belong
 * to no service: that of the closing thread, and those of commands.
 *
 * @module
 */
import { jetstream } from "nats/jetstream";
import { NatsStack, PostgresStack } from "../dev/servers/stack.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { Log } from "../process/log.ts";
import { connectWatched } from "../process/nats.ts";
import { probeSubject } from "../process/node/node_watch.ts";

/** Longest until a node is left, ms; three times what it takes alone. */
const BOUND_MS = 30_000;

/** The index of the node with a connection of this name; undefined while it is on none. */
async function nodeOf(name: string, { cluster }: NatsStack): Promise<number | undefined> {
  for (const [index, { monitorPort }] of cluster.nodes.entries()) {
    const response = await fetch(`http://127.0.0.1:${monitorPort}/connz`).catch(() => null);
    const { connections = [] } = await response?.json() ?? {};
    if (connections.some((each: { name?: string }) => each.name === name)) return index;
  }
}

/** The index of that node, once it is connected. */
async function settledNodeOf(name: string, stack: NatsStack): Promise<number> {
  return (await waitFor(`the node of ${name}`, async () => {
    const index = await nodeOf(name, stack);
    return index === undefined ? undefined : { index };
  }, { timeoutMs: BOUND_MS })).index;
}

/** Ms until the connection of this name is on another node than the one that is cut off. */
async function untilLeft(name: string, cutOff: number, stack: NatsStack): Promise<number> {
  const startMs = performance.now();
  await waitFor(`${name} on another node`, async () => {
    const index = await nodeOf(name, stack);
    return index !== undefined && index !== cutOff;
  }, { timeoutMs: BOUND_MS });
  return performance.now() - startMs;
}

Deno.test("the closing thread and the commands leave a node that is cut off from its cluster", async () => {
  await using stack = await NatsStack.start({ replicas: 3 });
  const postgres = await PostgresStack.start({}, stack.workspace);
  try {
    await stack.service("royalty", {
      TWOFOLD_POSTGRES_URL: postgres.databaseUrl("royalty"),
      TWOFOLD_ISSUER_POSTGRES_URL: postgres.databaseUrl("issuer"),
    });
    const { TWOFOLD_NATS_URL = "", TWOFOLD_NATS_PASSWORD = "", TWOFOLD_NATS_CA } = stack.settings(
      "auditor",
    );
    const nc = await connectWatched({
      TWOFOLD_NATS_URL,
      TWOFOLD_NATS_USER: "auditor",
      TWOFOLD_NATS_PASSWORD,
      TWOFOLD_NATS_CA,
      TWOFOLD_PARTITIONS: 1,
    }, new Log("command", "warn"));
    await jetstream(nc).publish(probeSubject("auditor"), "x");
    for (const name of ["twofold-royalty-closing", "twofold-command"]) {
      const cutOff = await settledNodeOf(name, stack);

      stack.cluster.isolate(cutOff);
      const ms = await untilLeft(name, cutOff, stack);
      console.log(`${name}: left after ${(ms / 1_000).toFixed(1)} s`);
      stack.cluster.rejoin(cutOff);
    }
    await nc.close();
  } finally {
    await postgres.stop();
  }
});
