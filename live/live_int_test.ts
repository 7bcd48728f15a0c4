/** The live process on a real server, through its faces: the stream, ALERTS, HTTP. */
import { assert, assertEquals } from "@std/assert";
import type { NatsConnection } from "nats";
import { jetstream } from "nats/jetstream";
import { alertSchema, type RebufferAlert } from "../shared/alert.ts";
import { freePort } from "../shared/dev/free_port.ts";
import { aHeartbeat, encode } from "../shared/dev/heartbeats.ts";
import { Random } from "../shared/dev/random.ts";
import { Service } from "../shared/dev/service.ts";
import { NatsStack } from "../shared/dev/stack.ts";
import { waitFor } from "../shared/dev/wait_for.ts";
import type { Heartbeat } from "../shared/event.ts";
import { heartbeatSubject, partitionOf } from "../shared/topology.ts";

const STALLING = { title_id: "premiere", region: "de", played_ms: 6_000, rebuffer_ms: 4_000 };
const HEALTHY = { title_id: "premiere", region: "de", played_ms: 10_000, rebuffer_ms: 0 };

/** A server, the live process, and devices and on-call around it. */
class Scene implements AsyncDisposable {
  readonly alerts: { subject: string; alert: RebufferAlert }[] = [];
  readonly random = new Random(7);
  /** Event time of the next heartbeats. */
  ts = Date.now() - 600_000;

  private constructor(
    readonly stack: NatsStack,
    readonly service: Service,
    readonly ingest: NatsConnection,
    readonly partitions: number,
  ) {}

  static async start(
    settings: Record<string, string> = {},
    partitions = 1,
  ): Promise<Scene> {
    const stack = await NatsStack.start({ partitions });
    const oncall = await stack.connect("oncall");
    const service = await Service.start(stack.workspace, "live", {
      httpPort: freePort(),
      reach: [stack.nats.url],
      settings: {
        ...stack.nats.settings("live"),
        TWOFOLD_PARTITIONS: String(partitions),
        ...settings,
      },
    });
    const scene = new Scene(stack, service, await stack.connect("ingest"), partitions);
    oncall.subscribe("alerts.>", {
      callback: (_error, message) => {
        const alert = alertSchema.parse(message.json()) as RebufferAlert;
        scene.alerts.push({ subject: message.subject, alert });
      },
    });
    await oncall.flush();
    return scene;
  }

  /** Lands `count` heartbeats of `changes` that end one after another in `seconds` of event time. */
  async send(count: number, seconds: number, changes: Partial<Heartbeat>): Promise<void> {
    const js = jetstream(this.ingest);
    for (let i = 0; i < count; i++) {
      this.ts += seconds * 1_000 / count;
      const session_id = `s-${i}`;
      const heartbeat = aHeartbeat(this.random, Math.floor(this.ts), { session_id, ...changes });
      await this.land(js, encode(heartbeat), partitionOf(session_id, this.partitions));
    }
  }

  async land(js: ReturnType<typeof jetstream>, bytes: Uint8Array, partition = 0): Promise<void> {
    await js.publish(heartbeatSubject(partition, "de"), bytes);
  }

  statuses(): string[] {
    return this.alerts.map(({ subject, alert }) => `${subject} ${alert.status}`);
  }

  async metric(name: string): Promise<number> {
    return (await this.service.metrics()).get(name) ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service.stop();
    await this.stack[Symbol.asyncDispose]();
  }
}

Deno.test("an incident is paged once and resolved once, with its evidence", async () => {
  await using scene = await Scene.start();
  await scene.send(60, 30, HEALTHY);
  await scene.send(60, 20, STALLING);
  await waitFor("the page", () => scene.alerts.length > 0);
  const { subject, alert } = scene.alerts[0];
  assertEquals(subject, "alerts.rebuffer.de.premiere");
  assertEquals(alert.status, "open");
  assertEquals(alert.title_id, "premiere");
  assert(alert.ratio > 0.05 && alert.ratio <= 0.4, `ratio ${alert.ratio}`);
  assertEquals(alert.ratio, alert.rebuffer_ms / (alert.played_ms + alert.rebuffer_ms));
  assertEquals(await scene.metric("twofold_live_open_alerts"), 1);

  await scene.send(200, 100, HEALTHY);
  await waitFor("the resolve", () => scene.alerts.length > 1);
  assertEquals(scene.statuses(), [
    "alerts.rebuffer.de.premiere open",
    "alerts.rebuffer.de.premiere resolved",
  ]);
  assertEquals(scene.alerts[1].alert.incident_id, alert.incident_id);
  assertEquals(scene.alerts[1].alert.outcome, "recovered");
  assertEquals(await scene.service.stop(), 0);
});
