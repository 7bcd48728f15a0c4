import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import type { Pulse } from "../shared/contract/pulse.ts";
import { pulseSubject } from "../shared/contract/topology.ts";
import type { ServiceProcess } from "../shared/dev/servers/service_process.ts";
import { NatsStack } from "../shared/dev/servers/stack.ts";
import { limitFiles } from "../shared/dev/testing/full_disk.ts";
import { aHeartbeat } from "../shared/dev/testing/heartbeats.ts";
import { propertyRandom } from "../shared/dev/testing/random.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";

const KEY = "0123456789abcdef";
const TIMEOUT = { timeoutMs: 60_000 };
const random = propertyRandom("refused heartbeats");

/** What a line of the log may have. */
interface Line {
  readonly reason: string;
  readonly remedy: string;
  readonly events: number;
  readonly fleet: string;
}

/** An edge process, its log, and its pulses as the pager hears them. */
class RefusingRig implements AsyncDisposable {
  private constructor(
    readonly stack: NatsStack,
    readonly edge: ServiceProcess,
    readonly pulses: readonly Pulse[],
  ) {}

  static async start(stack: NatsStack): Promise<RefusingRig> {
    const pulses: Pulse[] = [];
    const pager = await stack.connect("pager");
    pager.subscribe(pulseSubject("ingest", "*"), {
      callback: (_error, message) => void pulses.push(message.json<Pulse>()),
    });
    await pager.flush();
    const edge = await stack.service("ingest", {
      TWOFOLD_FLEET_KEYS: `tv:${KEY}`,
      TWOFOLD_ACK_DEADLINE_MS: "1500",
    });
    return new RefusingRig(stack, edge, pulses);
  }

  /** Sends `count` new heartbeats, each made longer by `moreBytes`; the status of the answer. */
  async post(count: number, moreBytes = 0): Promise<number> {
    const more = "x".repeat(moreBytes);
    const events = Array.from(
      { length: count },
      () => ({ ...aHeartbeat(random, Date.now()), more }),
    );
    const response = await fetch(`${this.edge.url}/v1/heartbeats`, {
      method: "POST",
      headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
      body: JSON.stringify(events),
    });
    await response.body?.cancel();
    return response.status;
  }

  /** Waits until `/readyz`, the pulse, and the log say that events are refused; why, as in `/readyz`. */
  async saysWhy(reason: string, remedy: string): Promise<string> {
    const why = await waitFor(`readiness with ${reason}`, async () => {
      const { status, reason: body } = await this.edge.readiness();
      return status === 503 && body.includes(`HEARTBEATS: ${reason}: `) ? body : undefined;
    }, TIMEOUT);
    assertStringIncludes(why, remedy);
    await waitFor("the pulse", () => {
      const pulse = this.pulses.at(-1);
      return pulse?.refusing?.includes(`HEARTBEATS: ${reason}: `) &&
        pulse.not_ready?.includes(remedy);
    }, TIMEOUT);
    const line = await this.logged("ingest.landing.refuses", (each) => each.reason === reason);
    assertStringIncludes(line.remedy, remedy);
    const counted = await this.logged("ingest.refusing", (each) => each.events > 0);
    assertEquals(counted.fleet, "tv");
    return why;
  }

  /** Waits until the edge is ready by itself, without traffic. */
  async recovers(): Promise<void> {
    await this.edge.ready();
    await waitFor("a pulse", () => this.pulses.at(-1)?.refusing === null, TIMEOUT);
    await this.logged("ingest.landing.stores_again", () => true);
    assertEquals(await this.post(10), 202);
  }

  /** Waits for a line of the log. */
  async logged(event: string, isWanted: (line: Line) => boolean): Promise<Line> {
    return await waitFor(`the log to have ${event}`, async () => {
      const log = await Deno.readTextFile(`${this.stack.workspace.folder}/ingest.log`);
      return log.split("\n").filter((line) => line.includes(`"${event}"`))
        .map((line): Line => JSON.parse(line)).find(isWanted);
    }, TIMEOUT);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack[Symbol.asyncDispose]();
  }
}

Deno.test("a full stream: readiness, pulse and log say so; raising its limit is enough", async () => {
  await using rig = await RefusingRig.start(await NatsStack.start());
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  await jsm.streams.update("HEARTBEATS", { max_bytes: 200_000 });
  await waitFor("a refusal", async () => await rig.post(100) === 503);
  await rig.saysWhy("stream_full", "raise TWOFOLD_HEARTBEATS_MAX_BYTES");
  const { state } = await jsm.streams.info("HEARTBEATS");
  await jsm.streams.update("HEARTBEATS", { max_bytes: 2 ** 30 });
  await rig.recovers();
  // The edge asked by an event that no reader counts.
  const probe = await jsm.direct.getMessage("HEARTBEATS", { seq: state.last_seq + 1 });
  assertEquals(probe?.subject, "hb.0.canary");
});

Deno.test("a server that may store no more: readiness, pulse and log say so", async () => {
  await using rig = await RefusingRig.start(await NatsStack.start());
  await rig.stack.nats.stop();
  await rig.stack.nats.start("500KB");
  await rig.edge.ready();
  await waitFor("a refusal", async () => await rig.post(100) === 503);
  await rig.saysWhy("quota", "TWOFOLD_NATS_MAX_FILE_STORE");
  await rig.stack.nats.stop();
  await rig.stack.nats.start();
  await rig.recovers();
});

Deno.test("a full disk: it is said that nats-server has to be restarted, and that is enough", async () => {
  await using rig = await RefusingRig.start(await NatsStack.start());
  assertEquals(await rig.post(10), 202);
  await limitFiles(rig.stack.nats.pid, 100_000);
  await waitFor("a refusal", async () => await rig.post(50, 2_000) === 503, TIMEOUT);
  const why = await rig.saysWhy("disk", "restart nats-server");
  assertStringIncludes(why, "HEARTBEATS, led by twofold-dev: ");

  // Space alone changes nothing, and the edge does not say otherwise.
  await limitFiles(rig.stack.nats.pid, "unlimited");
  const since = rig.pulses.length;
  await waitFor("some pulses", () => rig.pulses.length > since + 4, TIMEOUT);
  assertEquals(await rig.post(10), 503);
  assertMatch(rig.pulses.at(-1)?.refusing ?? "", /restart nats-server/);

  await rig.stack.nats.stop();
  await rig.stack.nats.start();
  await rig.recovers();
  assert((await rig.edge.metrics()).get('twofold_ingest_refused_events_total{reason="disk"}'));
});
