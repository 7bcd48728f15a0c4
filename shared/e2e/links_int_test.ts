import { assert } from "@std/assert";
import type { ServiceProcess } from "../dev/servers/service_process.ts";
import { NatsStack } from "../dev/servers/stack.ts";
import { TcpProxy } from "../dev/servers/tcp_proxy.ts";
import { waitFor } from "../dev/testing/wait_for.ts";
import { pause } from "../process/retry.ts";
import { EDGE_LOAD_SETTINGS, EdgeLoad } from "./edge_load.ts";

/** Longest without a 202 over a bad link, ms; several times what it takes alone. */
const BOUND_MS = 30_000;
const RESETS = 8;
const RESET_EVERY_MS = 500;

/** An edge whose link to NATS can be anything, and its load. */
class LinkRig implements AsyncDisposable {
  readonly load: EdgeLoad;

  private constructor(
    readonly stack: NatsStack,
    readonly link: TcpProxy,
    readonly edge: ServiceProcess,
  ) {
    this.load = new EdgeLoad(edge);
  }

  static async start(): Promise<LinkRig> {
    const stack = await NatsStack.start();
    const link = new TcpProxy(stack.nats.port);
    const settings = { ...EDGE_LOAD_SETTINGS, TWOFOLD_NATS_URL: link.url };
    return new LinkRig(stack, link, await stack.service("ingest", settings));
  }

  /** Does `fault`; says what was acknowledged meanwhile, and how long nothing was. */
  async through(what: string, fault: () => Promise<void> | void): Promise<void> {
    const before = this.load.acknowledged;
    const startMs = performance.now();
    const ms = await this.load.through(fault);
    const rate = (this.load.acknowledged - before) * 1_000 / (performance.now() - startMs);
    console.log(`${what}: ${rate.toFixed(0)} events/s, ${(ms / 1_000).toFixed(1)} s without a 202`);
    assert(ms < BOUND_MS, `${what}: ${ms} ms without a 202`);
  }

  /** Waits until the edge measures a round trip of at least `seconds`, of less, or of any. */
  async measures(isRight: (probeSeconds: number) => boolean): Promise<void> {
    await waitFor("the measured link", async () => {
      const seconds = (await this.edge.metrics()).get("twofold_nats_probe_seconds") ?? NaN;
      return isRight(seconds) || Promise.reject(new Error(`${seconds} s`));
    }, { timeoutMs: BOUND_MS });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.load.end();
    this.link[Symbol.dispose]();
    await this.stack[Symbol.asyncDispose]();
  }
}

Deno.test("over bad links the edge goes on, says how bad they are, and loses nothing", async () => {
  await using rig = await LinkRig.start();
  const { link, load } = rig;
  await rig.through("a good link", () => load.goesOn(1_000));
  await rig.through("jitter of 300 ms", async () => {
    link.shape({ delayMs: 50, jitterMs: 300 });
    await rig.measures((seconds) => seconds > 0.1);
    await load.goesOn(300);
  });
  await rig.through("20 kB/s", async () => {
    link.shape({ bytesPerSecond: 20_000 });
    await load.goesOn(300);
  });
  link.shape({});
  await rig.measures((seconds) => seconds < 1);
  await rig.through(`${RESETS} resets`, async () => {
    for (let i = 0; i < RESETS; i++) {
      link.cut();
      // No sleep: the rate of resets is part of the fault.
      await pause(RESET_EVERY_MS);
    }
  });
  await rig.through("half-open until it is noticed", async () => {
    link.silence();
    await rig.measures((seconds) => seconds > 2);
    await waitFor("503 of /readyz", async () => (await rig.edge.readiness()).status === 503, {
      timeoutMs: BOUND_MS,
    });
    link.heal();
  });
  await load.isStored(rig.stack);
});
