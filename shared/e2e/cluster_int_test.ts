import { assert, assertStringIncludes } from "@std/assert";
import { type JetStreamManager, jetstreamManager } from "nats/jetstream";
import { type ServiceProcess, sumOf } from "../dev/servers/service_process.ts";
import { NatsStack } from "../dev/servers/stack.ts";
import { limitFiles, SmallDisk } from "../dev/testing/full_disk.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { EDGE_LOAD_SETTINGS, EdgeLoad } from "./edge_load.ts";

/** Longest without a 202 through a fault, ms; three times what it takes alone. */
const BOUND_MS = 30_000;
const DISK_BYTES = 128 * 1024 ** 2;

/** Three nodes, an edge on them, and its load. */
class ClusterRig implements AsyncDisposable {
  readonly load: EdgeLoad;
  readonly #disks = new AsyncDisposableStack();

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

  /** Makes the node with this index the leader of HEARTBEATS. */
  async lead(index: number): Promise<void> {
    const isLed = async () => await this.leader() === index;
    await this.#stepDown("STREAM.LEADER.STEPDOWN.HEARTBEATS", index, isLed);
  }

  /** Makes the node with this index the leader of the durable `live`. */
  async leadLive(index: number): Promise<void> {
    await this.#stepDown("CONSUMER.LEADER.STEPDOWN.HEARTBEATS.live", index, async () => {
      const { cluster } = await this.jsm.consumers.info("HEARTBEATS", "live");
      return cluster?.leader === this.nodeName(index);
    });
  }

  async #stepDown(api: string, index: number, isLed: () => Promise<boolean>): Promise<void> {
    const nc = await this.stack.connect("ops");
    const order = JSON.stringify({ placement: { preferred: this.nodeName(index) } });
    await waitFor("the wanted leader", async () => {
      if (await isLed()) return true;
      await nc.request(`$JS.API.${api}`, order);
    }, { timeoutMs: BOUND_MS });
  }

  /** The name of the server with this index. */
  nodeName(index: number): string {
    return this.stack.cluster.node(index).launched.node?.name ?? "";
  }

  /** Gives the node with this index a small disk of its own; undefined when this process may not mount. */
  async smallDisk(index: number): Promise<SmallDisk | undefined> {
    const node = this.stack.cluster.node(index);
    await node.stop();
    const disk = await SmallDisk.under(node.folder, DISK_BYTES);
    if (disk) this.#disks.use(disk);
    await node.start();
    await this.isWhole();
    return disk;
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
    await this.#disks.disposeAsync();
    await this.stack[Symbol.asyncDispose]();
  }
}

Deno.test("the edge leaves a node that is cut off from its cluster", async () => {
  await using rig = await ClusterRig.start();
  const { cluster } = rig.stack;
  for (const round of [1, 2]) {
    const cutOff = await rig.nodeOfEdge();
    // The worst node: it is asked for acknowledgements, and believes that it leads.
    await rig.lead(cutOff);
    await rig.through(`the node of the edge isolated, ${round}`, async () => {
      cluster.isolate(cutOff);
      await waitFor("the edge on another node", async () => await rig.nodeOfEdge() !== cutOff, {
        timeoutMs: BOUND_MS,
      });
    });
    cluster.rejoin(cutOff);
    await rig.isWhole();
  }
  await rig.load.isStored(rig.stack);
});

Deno.test("leaders killed, step-downs, a rolling restart and a node gone stop no edge and lose nothing", async () => {
  await using rig = await ClusterRig.start();
  const { stack: { cluster }, load } = rig;
  const killed = await rig.leader();
  await rig.through("the leader killed", () => cluster.node(killed).stop("SIGKILL"));
  await rig.through("one node gone", () => load.goesOn(1_000));
  await cluster.node(killed).start();
  await rig.isWhole();
  await rig.through("three step-downs", async () => {
    const ops = await rig.stack.connect("ops");
    for (let i = 0; i < 3; i++) {
      await waitFor("a step-down", async () => {
        const answer = await ops.request("$JS.API.STREAM.LEADER.STEPDOWN.HEARTBEATS", "");
        return answer.json<{ success?: boolean }>().success;
      });
      await load.goesOn();
    }
  });
  await rig.through("a rolling restart", async () => {
    for (const node of cluster.nodes) {
      await node.stop();
      await node.start();
      await rig.isWhole();
    }
  });
  await rig.isWhole();
  await load.isStored(rig.stack);
});

for (const role of ["follows", "leads"] as const) {
  Deno.test(`a full disk under a node that ${role} stops no edge and no reader; which one is told`, async () => {
    await using rig = await ClusterRig.start();
    const { stack, stack: { cluster }, load } = rig;
    const live = await stack.service("live");
    const read = async () => sumOf(await live.metrics(), "twofold_live_events_total");
    await stack.service("pager", { TWOFOLD_PAGER_SERVICES: "ingest" });
    const alerts = await stack.receiveAlerts("alerts.pipeline.node-stores-nothing");
    const full = 1;
    const disk = await rig.smallDisk(full);
    await rig.lead(role === "leads" ? full : 0);
    // A limit is an error of the disk, with which nats-server leads on, and its readers stand still.
    await rig.leadLive(disk ? full : 0);
    await rig.through(`a full disk under a node that ${role}`, async () => {
      await (disk?.fill() ?? limitFiles(cluster.node(full).pid, 100_000));
      await load.goesOn(1_000);
      const before = await read();
      await waitFor("the reader to go on", async () => await read() > before + 1_000, {
        timeoutMs: BOUND_MS,
      });
    });
    const told = await waitFor("the alert", () => alerts[0]?.alert, { timeoutMs: 2 * BOUND_MS });
    assertStringIncludes(told.summary, `the NATS node ${rig.nodeName(full)} stores nothing of`);
    assertStringIncludes(told.summary, "make space, then restart nats-server on it");
    await disk?.makeSpace();
    await cluster.node(full).stop();
    await cluster.node(full).start();
    await rig.isWhole();
    await waitFor("its end", () => alerts[1]?.alert.status === "resolved", {
      timeoutMs: 2 * BOUND_MS,
    });
    await load.isStored(stack);
  });
}

Deno.test("two nodes of three stopped: the edge says no quorum, and recovers by itself", async () => {
  await using rig = await ClusterRig.start();
  const { stack, stack: { cluster }, edge, load } = rig;
  const stopped = [0, 1];
  // The worst case: the one that remains has led the stream, and answers as ever at first.
  await rig.lead(2);
  await Promise.all(stopped.map((index) => cluster.node(index).stop()));
  const said = await waitFor("readiness with its reason", async () => {
    const { status, reason } = await edge.readiness();
    return status === 503 && reason.includes("HEARTBEATS: no_quorum: ")
      ? reason
      : Promise.reject(new Error(`${status} ${reason}`));
  }, { timeoutMs: 2 * BOUND_MS });
  assertStringIncludes(said, "too few nodes of the cluster run");
  for (const event of ["ingest.landing.refuses", "ingest.refusing"]) {
    await waitFor(`${event} in the log`, async () => {
      const log = await Deno.readTextFile(`${stack.workspace.folder}/ingest.log`);
      return log.split("\n").some((line) =>
        line.includes(`"${event}"`) && line.includes('"reason":"no_quorum"')
      );
    }, { timeoutMs: BOUND_MS });
  }
  await Promise.all(stopped.map((index) => cluster.node(index).start()));
  await edge.ready();
  await load.goesOn();
  await load.isStored(stack);
});
