/** The live process on a real server, through its faces: the stream, ALERTS, HTTP. */
import { assert, assertEquals, assertExists } from "@std/assert";
import type { NatsConnection } from "nats";
import { jetstream, jetstreamManager } from "nats/jetstream";
import { type Alert, alertSchema, type RebufferAlert } from "../shared/contract/alert.ts";
import { freePort } from "../shared/dev/servers/free_port.ts";
import { aHeartbeat, encode } from "../shared/dev/testing/heartbeats.ts";
import { Random } from "../shared/dev/testing/random.ts";
import { ServiceProcess } from "../shared/dev/servers/service_process.ts";
import { NatsStack } from "../shared/dev/servers/stack.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";
import type { Heartbeat } from "../shared/contract/event.ts";
import {
  alertSubject,
  heartbeatStreams,
  heartbeatSubject,
  partitionOf,
  type TopologyOptions,
} from "../shared/contract/topology.ts";

const STALLING = { title_id: "premiere", region: "de", played_ms: 6_000, rebuffer_ms: 4_000 };
const HEALTHY = { title_id: "premiere", region: "de", played_ms: 10_000, rebuffer_ms: 0 };

/** A server, the live process, and devices and on-call around it. */
class Scene implements AsyncDisposable {
  readonly alerts: { subject: string; alert: Alert }[] = [];
  readonly random = new Random(7);
  /** Event time of the next heartbeats. */
  ts = Date.now() - 600_000;

  private constructor(
    readonly stack: NatsStack,
    readonly service: ServiceProcess,
    readonly ingest: NatsConnection,
    readonly partitions: number,
  ) {}

  static async start(
    settings: Record<string, string> = {},
    options: Partial<TopologyOptions> = {},
    prepare: (stack: NatsStack) => Promise<void> = async () => {},
  ): Promise<Scene> {
    const partitions = options.partitions ?? 1;
    const stack = await NatsStack.start(options);
    await prepare(stack);
    const oncall = await stack.connect("oncall");
    const service = await ServiceProcess.start(stack.workspace, "live", {
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
        scene.alerts.push({ subject: message.subject, alert: alertSchema.parse(message.json()) });
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

  /** The first two alerts, which are of one incident. */
  openAndResolve(): [open: Alert, resolve: Alert] {
    const [open, resolve] = this.alerts.map(({ alert }) => alert);
    assertExists(open);
    assertExists(resolve);
    assertEquals(resolve.incident_id, open.incident_id);
    return [open, resolve];
  }

  statuses(): string[] {
    return this.alerts.map(({ subject, alert }) => `${subject} ${alert.status}`);
  }

  async metricIs(name: string, expected: number): Promise<void> {
    await waitFor(
      `${name} to be ${expected}`,
      async () => (await this.service.metrics()).get(name) === expected,
    );
  }

  /** Waits until live has handled and acknowledged everything that was landed. */
  async caughtUp(): Promise<void> {
    const jsm = await jetstreamManager(await this.stack.connect("ops"));
    for (const stream of heartbeatStreams(this.partitions)) {
      await waitFor(`live to acknowledge ${stream}`, async () => {
        const { num_pending, num_ack_pending } = await jsm.consumers.info(stream, "live");
        return num_pending + num_ack_pending === 0;
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service.stop();
    await this.stack[Symbol.asyncDispose]();
  }
}

const PAGED = "alerts.rebuffer.de.premiere open";
const RESOLVED = "alerts.rebuffer.de.premiere resolved";

Deno.test("an incident is paged once and resolved once, with its evidence", async () => {
  await using scene = await Scene.start();
  await scene.send(60, 30, HEALTHY);
  await scene.send(60, 20, STALLING);
  await waitFor("the page", () => scene.alerts.length > 0);
  const alert = scene.alerts.at(0)?.alert;
  assert(alert?.kind === "rebuffer");
  assertEquals(alert.title_id, "premiere");
  assert(alert.ratio > 0.05 && alert.ratio <= 0.4, `ratio ${alert.ratio}`);
  assertEquals(alert.ratio, alert.rebuffer_ms / (alert.played_ms + alert.rebuffer_ms));
  await scene.metricIs("twofold_live_open_alerts", 1);
  await scene.metricIs("twofold_live_alert_latency_seconds_count", 1);

  await scene.send(200, 100, HEALTHY);
  await waitFor("the resolve", () => scene.alerts.length > 1);
  assertEquals(scene.statuses(), [PAGED, RESOLVED]);
  const [, resolve] = scene.openAndResolve();
  assert(resolve.kind === "rebuffer");
  assertEquals(resolve.outcome, "recovered");
  await scene.metricIs("twofold_live_events_total", 320);
});

Deno.test("SIGTERM acknowledges what was read and ends with 0", async () => {
  await using scene = await Scene.start();
  await scene.send(50, 10, HEALTHY);
  await scene.metricIs("twofold_live_events_total", 50);
  assertEquals(await scene.service.stop(), 0);
  await scene.caughtUp();
});

Deno.test("SIGKILL in the middle of an incident neither repeats the page nor forgets the resolve", async () => {
  await using scene = await Scene.start();
  await scene.send(60, 20, STALLING);
  await waitFor("the page", () => scene.alerts.length > 0);

  await scene.service.stop("SIGKILL");
  await scene.send(60, 20, STALLING);
  await scene.service.restart();
  await scene.service.ready();
  await scene.metricIs("twofold_live_open_alerts", 1);
  await scene.send(60, 20, STALLING);
  await scene.caughtUp();
  assertEquals(scene.statuses(), [PAGED]);

  await scene.service.stop("SIGKILL");
  await scene.send(200, 100, HEALTHY);
  await scene.service.restart();
  await waitFor("the resolve", () => scene.alerts.length > 1);
  assertEquals(scene.statuses(), [PAGED, RESOLVED]);
  const [open, resolve] = scene.openAndResolve();
  assertEquals(resolve.opened_at, open.opened_at);
});

Deno.test("a restart of nats-server is survived, and the incident during it is paged", async () => {
  await using scene = await Scene.start();
  await scene.send(60, 30, HEALTHY);
  await scene.caughtUp();
  await scene.stack.nats.stop("SIGKILL");
  await scene.stack.nats.start();
  await waitFor("the edge to be back", async () => {
    await scene.ingest.rtt();
    return true;
  });
  await scene.send(60, 20, STALLING);
  await waitFor("the page", () => scene.alerts.length > 0);
  assertEquals(scene.statuses(), [PAGED]);
  assertEquals(scene.service.exitCode, null);
});

Deno.test("the durable made anew is read on", async () => {
  await using scene = await Scene.start();
  await scene.send(60, 30, HEALTHY);
  await scene.caughtUp();
  const jsm = await jetstreamManager(await scene.stack.connect("ops"));
  await jsm.consumers.delete("HEARTBEATS", "live");
  await scene.stack.provision();
  await scene.send(60, 20, STALLING);
  await waitFor("the page", () => scene.alerts.length > 0);
  assertEquals(scene.statuses(), [PAGED]);
});

Deno.test("sessions of one title in three partitions are one incident", async () => {
  await using scene = await Scene.start({}, { partitions: 3 });
  await scene.send(60, 20, STALLING);
  await waitFor("the page", () => scene.alerts.length > 0);
  await scene.caughtUp();
  assertEquals(scene.statuses(), [PAGED]);
  await scene.metricIs("twofold_live_events_total", 60);
});

Deno.test("live goes on beside a quarantine that is full, and acknowledges no reject before its copy", async () => {
  await using scene = await Scene.start({}, { quarantineMaxBytes: 1 });
  const jsm = await jetstreamManager(await scene.stack.connect("ops"));
  const ackFloor = async () =>
    (await jsm.consumers.info("HEARTBEATS", "live")).ack_floor.stream_seq;
  await scene.send(60, 20, HEALTHY);
  await scene.caughtUp();
  await jetstream(scene.ingest).publish(heartbeatSubject(0, "none"), "{ not json");
  await scene.send(60, 20, STALLING);
  await waitFor("the page", () => scene.alerts.length > 0);
  await scene.metricIs("twofold_live_events_total", 121);
  assertEquals(await ackFloor(), 60);

  await jsm.streams.update("QUARANTINE", { max_bytes: 1024 ** 2 });
  await scene.caughtUp();
  const { state } = await jsm.streams.info("QUARANTINE", { subjects_filter: ">" });
  assertEquals(state.subjects, { "quarantine.not_json": 1 });
  const entry = await jsm.streams.getMessage("QUARANTINE", { last_by_subj: "quarantine.>" });
  assertEquals(entry?.string(), "{ not json");
  assertEquals(entry?.header.get("Twofold-Rejected-By"), "live");
  assertEquals(entry?.header.get("Twofold-Sequence"), "61");
  await scene.metricIs('twofold_live_quarantine_copies_total{outcome="made"}', 1);
});

Deno.test("no heartbeat at all is an alert of its own, also over a restart", async () => {
  await using scene = await Scene.start({ TWOFOLD_LIVE_SILENCE_MS: "1000" });
  await scene.send(1, 1, HEALTHY);
  const silent = "alerts.pipeline.no-data open";
  await waitFor("the page", () => scene.alerts.length > 0);
  assertEquals(scene.statuses(), [silent]);

  await scene.service.stop("SIGKILL");
  await scene.service.restart();
  await scene.service.ready();
  await scene.send(1, 1, HEALTHY);
  await waitFor("the resolve", () => scene.alerts.length > 1);
  assertEquals(scene.statuses().slice(0, 2), [silent, "alerts.pipeline.no-data resolved"]);
  scene.openAndResolve();
});

Deno.test("open incidents are recovered from among more subjects than one request may ask for", async () => {
  await using scene = await Scene.start({}, {}, async (stack) => {
    const js = jetstream(await stack.connect("live"));
    const acks = Array.from({ length: 1_500 }, async (_, i) => {
      const title = `t${i}`;
      const alert = anAlert(title, i === 700 ? "open" : "resolved");
      await js.publish(alertSubject.rebuffer("de", title), JSON.stringify(alert));
    });
    await Promise.all(acks);
    await js.publish(alertSubject.rebuffer("de", "odd"), "not an alert");
  });
  await scene.metricIs("twofold_live_open_alerts", 1);
});

function anAlert(title: string, status: "open" | "resolved"): RebufferAlert {
  return {
    v: 1,
    kind: "rebuffer",
    incident_id: `de.${title}.1`,
    status,
    severity: "page",
    opened_at: 1,
    at: 1,
    summary: "x",
    title_id: title,
    region: "de",
    definition: "x",
    ratio: 0.5,
    threshold: 0.05,
    window_ms: 60_000,
    heartbeats: 100,
    played_ms: 1,
    rebuffer_ms: 1,
    stalled_sessions: 10,
    received_at: 1,
  };
}
