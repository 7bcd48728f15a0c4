import { assert } from "@std/assert";
import { type JetStreamManager, jetstreamManager } from "nats/jetstream";
import type { ServiceProcess } from "../dev/servers/service_process.ts";
import { NatsStack } from "../dev/servers/stack.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { EDGE_LOAD_SETTINGS, EdgeLoad } from "./edge_load.ts";

/** Longest without a 202 through a fault, ms; three times what it takes alone. */
const BOUND_MS = 30_000;

/** Three nodes, an edge on them, and its load. */
class ClusterRig implements AsyncDisposable {
  readonly load: EdgeLoad;

  private constructor(
    readonly stack: NatsStack,
    readonly edge: ServiceProcess,
    readonly jsm: JetStreamManager,
  ) {
    this.load = new EdgeLoad(edge);
  }

  static async start(): Promise<ClusterRig> {
    const stack = await NatsStack.start({ replicas: 3 });
    const edge = await stack.service("ingest", EDGE_LOAD_SETTINGS);
    const jsm = await jetstreamManager(await stack.connect("ops"), { checkAPI: false });
    return new ClusterRig(stack, edge, jsm);
  }

  /** Does `fault` and says how long no event was answered 202. */
  async through(what: string, fault: () => Promise<void> | void): Promise<void> {
    const ms = await this.load.through(fault);
    console.log(`${what}: ${(ms / 1_000).toFixed(1)} s without a 202`);
    assert(ms < BOUND_MS, `${what}: ${ms} ms without a 202`);
  }

  /** The index of the node that leads HEARTBEATS. */
  async leader(): Promise<number> {
    return await waitFor("a leader of HEARTBEATS", async () => {
      const { cluster } = await this.jsm.streams.info("HEARTBEATS");
      const index = this.stack.cluster.nodes.findIndex(({ launched }) =>
        launched.node?.name === cluster?.leader
      );
      return index < 0 ? undefined : { index };
    }, { timeoutMs: BOUND_MS }).then(({ index }) => index);
  }

  /** The index of the node that the edge is connected to. */
  async nodeOfEdge(): Promise<number> {
    const { index } = await waitFor("the edge's node", async () => {
      for (const [index, { monitorPort }] of this.stack.cluster.nodes.entries()) {
        const response = await fetch(`http://127.0.0.1:${monitorPort}/connz`).catch(() => null);
        const { connections = [] } = await response?.json() ?? {};
        if (connections.some(({ name }: { name?: string }) => name === "twofold-ingest")) {
          return { index };
        }
      }
    }, { timeoutMs: BOUND_MS });
    return index;
  }

  /** Waits until all nodes have all of HEARTBEATS. */
  async isWhole(): Promise<void> {
    await waitFor("all replicas", async () => {
      const { cluster } = await this.jsm.streams.info("HEARTBEATS");
      const replicas = cluster?.replicas ?? [];
      return replicas.length === 2 && replicas.every(({ current, offline }) => current && !offline);
    }, { timeoutMs: 3 * BOUND_MS });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.load.end();
    await this.stack[Symbol.asyncDispose]();
  }
}

Deno.test("the edge leaves a node that is cut off from its cluster", async () => {
  await using rig = await ClusterRig.start();
  const { cluster } = rig.stack;
  for (const round of [1, 2]) {
    const cutOff = await rig.nodeOfEdge();
    await rig.through(`the node of the edge isolated, ${round}`, async () => {
      cluster.isolate(cutOff);
      await waitFor("the edge on another node", async () => await rig.nodeOfEdge() !== cutOff, {
        timeoutMs: BOUND_MS,
      });
    });
    cluster.rejoin(cutOff);
    await rig.isWhole();
  }
  await rig.load.isStoredOnce(rig.stack);
});
