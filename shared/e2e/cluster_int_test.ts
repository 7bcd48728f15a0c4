import { assert, assertEquals } from "@std/assert";
import { DeliverPolicy, jetstream, type JetStreamManager, jetstreamManager } from "nats/jetstream";
import type { Heartbeat } from "../contract/event.ts";
import type { ServiceProcess } from "../dev/servers/service_process.ts";
import { NatsStack } from "../dev/servers/stack.ts";
import { aHeartbeat } from "../dev/testing/heartbeats.ts";
import { Random } from "../dev/testing/random.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { pause } from "../process/retry.ts";

const KEY = "0123456789abcdef";
const DEVICES = 8;
/** Longest without a 202 through a fault, ms; three times what it takes alone. */
const BOUND_MS = 30_000;

/** Three nodes, an edge on them, and devices that send until they are accepted. */
class ClusterRig implements AsyncDisposable {
  readonly #random = new Random(11);
  readonly #acknowledged = new Set<string>();
  readonly #end = new AbortController();
  readonly #devices: Promise<void>[];
  #newestMs = performance.now();
  #longestMs = 0;

  private constructor(
    readonly stack: NatsStack,
    readonly edge: ServiceProcess,
    readonly jsm: JetStreamManager,
  ) {
    this.#devices = Array.from({ length: DEVICES }, () => this.#send());
  }

  static async start(): Promise<ClusterRig> {
    const stack = await NatsStack.start({ replicas: 3 });
    const edge = await stack.service("ingest", { TWOFOLD_FLEET_KEYS: `tv:${KEY}` });
    const jsm = await jetstreamManager(await stack.connect("ops"), { checkAPI: false });
    return new ClusterRig(stack, edge, jsm);
  }

  async #send(): Promise<void> {
    while (!this.#end.signal.aborted) {
      const events = Array.from({ length: 5 }, () => aHeartbeat(this.#random, Date.now()));
      const body = JSON.stringify(events);
      while (!this.#end.signal.aborted && !await this.#isAccepted(body)) {
        // No sleep: a refused device waits.
        await pause(200);
      }
      if (!this.#end.signal.aborted) this.#note(events);
    }
  }

  async #isAccepted(body: string): Promise<boolean> {
    const headers = { authorization: `Bearer ${KEY}`, "content-type": "application/json" };
    try {
      const request = { method: "POST", headers, body, signal: AbortSignal.timeout(15_000) };
      const response = await fetch(`${this.edge.url}/v1/heartbeats`, request);
      await response.body?.cancel();
      return response.status === 202;
    } catch {
      return false;
    }
  }

  #note(events: readonly Heartbeat[]): void {
    for (const { event_id } of events) this.#acknowledged.add(event_id);
    const nowMs = performance.now();
    this.#longestMs = Math.max(this.#longestMs, nowMs - this.#newestMs);
    this.#newestMs = nowMs;
  }

  /** Waits for so many more acknowledged events. */
  async acknowledges(events = 200): Promise<void> {
    const before = this.#acknowledged.size;
    await waitFor(
      `${events} more 202s`,
      () => this.#acknowledged.size >= before + events,
      { timeoutMs: 3 * BOUND_MS },
    );
  }

  /** Does `fault`; returns the longest time without a 202 until all is well again, ms. */
  async through(fault: () => Promise<void> | void): Promise<number> {
    await this.acknowledges();
    this.#longestMs = 0;
    await fault();
    await this.acknowledges();
    return this.#longestMs;
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

  /** Ends the devices, and compares what was acknowledged with what is stored. */
  async everythingIsStored(): Promise<void> {
    this.#end.abort();
    await Promise.all(this.#devices);
    const js = jetstream(await this.stack.connect("ops"));
    const consumer = await waitFor(
      "a consumer",
      () => js.consumers.get("HEARTBEATS", { deliver_policy: DeliverPolicy.All }),
      { timeoutMs: BOUND_MS },
    );
    const { state } = await this.jsm.streams.info("HEARTBEATS");
    const stored = new Map<string, number>();
    for await (const message of await consumer.consume({ max_messages: 5_000 })) {
      const { event_id } = message.json<Heartbeat>();
      stored.set(event_id, (stored.get(event_id) ?? 0) + 1);
      if (message.seq === state.last_seq) break;
    }
    assertEquals([...this.#acknowledged].filter((id) => !stored.has(id)), [], "lost");
    assertEquals([...stored.values()].filter((count) => count > 1), [], "stored twice");
    console.log(`${this.#acknowledged.size} acknowledged, each stored once`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await Promise.all(this.#devices);
    await this.stack[Symbol.asyncDispose]();
  }
}

function report(what: string, ms: number): void {
  console.log(`${what}: ${(ms / 1_000).toFixed(1)} s without a 202`);
  assert(ms < BOUND_MS, `${what}: ${ms} ms without a 202`);
}

Deno.test("the edge leaves a node that is cut off from its cluster", async () => {
  await using rig = await ClusterRig.start();
  const { cluster } = rig.stack;
  for (const round of [1, 2]) {
    const cutOff = await rig.nodeOfEdge();
    const ms = await rig.through(async () => {
      cluster.isolate(cutOff);
      await waitFor("the edge on another node", async () => await rig.nodeOfEdge() !== cutOff, {
        timeoutMs: BOUND_MS,
      });
    });
    report(`the node of the edge isolated, ${round}`, ms);
    cluster.rejoin(cutOff);
    await rig.isWhole();
  }
  await rig.everythingIsStored();
});
