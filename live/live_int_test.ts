/** Tests of the live process on a real server, through the stream, ALERTS and HTTP. */
import { assert, assertEquals, assertExists } from "@std/assert";
import type { NatsConnection } from "nats";
import { jetstream, jetstreamManager } from "nats/jetstream";
import { type Alert, type RebufferAlert } from "../shared/contract/alert.ts";
import { aHeartbeat, encode } from "../shared/dev/testing/heartbeats.ts";
import { Random } from "../shared/dev/testing/random.ts";
import { ServiceProcess } from "../shared/dev/servers/service_process.ts";
import { NatsStack, type ReceivedAlert } from "../shared/dev/servers/stack.ts";
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

/** A server, the live process, devices that send heartbeats, and an on-call subscriber. */
class LiveRig implements AsyncDisposable {
  readonly random = new Random(7);
  /** Event time of the next heartbeats. */
  ts = Date.now() - 600_000;

  private constructor(
    readonly stack: NatsStack,
    readonly service: ServiceProcess,
    readonly ingest: NatsConnection,
    readonly partitions: number,
    readonly alerts: readonly ReceivedAlert[],
  ) {}

  static async start(
    settings: Record<string, string> = {},
    options: Partial<TopologyOptions> = {},
    prepare: (stack: NatsStack) => Promise<void> = async () => {},
  ): Promise<LiveRig> {
    const partitions = options.partitions ?? 1;
    const stack = await NatsStack.start(options);
    await prepare(stack);
    const alerts = await stack.receiveAlerts();
    const service = await stack.service("live", {
      TWOFOLD_PARTITIONS: String(partitions),
      ...settings,
    });
    return new LiveRig(stack, service, await stack.connect("ingest"), partitions, alerts);
  }

  /** Stores `count` heartbeats with `changes`, spread over `seconds` of event time. */
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

  /** Waits until live has handled and acknowledged everything that was stored. */
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
    await this.stack[Symbol.asyncDispose]();
  }
}

const PAGED = "alerts.rebuffer.de.premiere open";
const RESOLVED = "alerts.rebuffer.de.premiere resolved";

Deno.test("an incident is paged once and resolved once, with its evidence", async () => {
  await using rig = await LiveRig.start();
  await rig.send(60, 30, HEALTHY);
  await rig.send(60, 20, STALLING);
  await waitFor("the page", () => rig.alerts.length > 0);
  const alert = rig.alerts.at(0)?.alert;
  assert(alert?.kind === "rebuffer");
  assertEquals(alert.title_id, "premiere");
  assert(alert.ratio > 0.05 && alert.ratio <= 0.4, `ratio ${alert.ratio}`);
  assertEquals(alert.ratio, alert.rebuffer_ms / (alert.played_ms + alert.rebuffer_ms));
  await rig.metricIs("twofold_live_open_alerts", 1);
  await rig.metricIs("twofold_live_alert_latency_seconds_count", 1);

  await rig.send(200, 100, HEALTHY);
  await waitFor("the resolve", () => rig.alerts.length > 1);
  assertEquals(rig.statuses(), [PAGED, RESOLVED]);
  const [, resolve] = rig.openAndResolve();
  assert(resolve.kind === "rebuffer");
  assertEquals(resolve.outcome, "recovered");
  await rig.metricIs("twofold_live_events_total", 320);
});

Deno.test("SIGTERM acknowledges everything read and exits with 0", async () => {
  await using rig = await LiveRig.start();
  await rig.send(50, 10, HEALTHY);
  await rig.metricIs("twofold_live_events_total", 50);
  assertEquals(await rig.service.stop(), 0);
  await rig.caughtUp();
});

Deno.test("after SIGKILL during an incident the page is not repeated and the resolve is sent", async () => {
  await using rig = await LiveRig.start();
  await rig.send(60, 20, STALLING);
  await waitFor("the page", () => rig.alerts.length > 0);

  await rig.service.stop("SIGKILL");
  await rig.send(60, 20, STALLING);
  await rig.service.restart();
  await rig.service.ready();
  await rig.metricIs("twofold_live_open_alerts", 1);
  await rig.send(60, 20, STALLING);
  await rig.caughtUp();
  assertEquals(rig.statuses(), [PAGED]);

  await rig.service.stop("SIGKILL");
  await rig.send(200, 100, HEALTHY);
  await rig.service.restart();
  await waitFor("the resolve", () => rig.alerts.length > 1);
  assertEquals(rig.statuses(), [PAGED, RESOLVED]);
  const [open, resolve] = rig.openAndResolve();
  assertEquals(resolve.opened_at, open.opened_at);
});

Deno.test("an incident after a restart of nats-server is paged", async () => {
  await using rig = await LiveRig.start();
  await rig.send(60, 30, HEALTHY);
  await rig.caughtUp();
  await rig.stack.nats.stop("SIGKILL");
  await rig.stack.nats.start();
  await waitFor("the edge to be back", async () => {
    await rig.ingest.rtt();
    return true;
  });
  await rig.send(60, 20, STALLING);
  await waitFor("the page", () => rig.alerts.length > 0);
  assertEquals(rig.statuses(), [PAGED]);
  assertEquals(rig.service.exitCode, null);
});

Deno.test("reading continues when the durable is recreated", async () => {
  await using rig = await LiveRig.start();
  await rig.send(60, 30, HEALTHY);
  await rig.caughtUp();
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  await jsm.consumers.delete("HEARTBEATS", "live");
  await rig.stack.provision();
  await rig.send(60, 20, STALLING);
  await waitFor("the page", () => rig.alerts.length > 0);
  assertEquals(rig.statuses(), [PAGED]);
});

Deno.test("sessions of one title in three partitions are one incident", async () => {
  await using rig = await LiveRig.start({}, { partitions: 3 });
  await rig.send(60, 20, STALLING);
  await waitFor("the page", () => rig.alerts.length > 0);
  await rig.caughtUp();
  assertEquals(rig.statuses(), [PAGED]);
  await rig.metricIs("twofold_live_events_total", 60);
});

Deno.test("with a full quarantine live continues, and acknowledges no reject before its copy", async () => {
  await using rig = await LiveRig.start({}, { quarantineMaxBytes: 1 });
  const jsm = await jetstreamManager(await rig.stack.connect("ops"));
  const ackFloor = async () =>
    (await jsm.consumers.info("HEARTBEATS", "live")).ack_floor.stream_seq;
  await rig.send(60, 20, HEALTHY);
  await rig.caughtUp();
  await jetstream(rig.ingest).publish(heartbeatSubject(0, "none"), "{ not json");
  await rig.send(60, 20, STALLING);
  await waitFor("the page", () => rig.alerts.length > 0);
  await rig.metricIs("twofold_live_events_total", 121);
  assertEquals(await ackFloor(), 60);

  await jsm.streams.update("QUARANTINE", { max_bytes: 1024 ** 2 });
  await rig.caughtUp();
  const { state } = await jsm.streams.info("QUARANTINE", { subjects_filter: ">" });
  assertEquals(state.subjects, { "quarantine.not_json": 1 });
  const entry = await jsm.streams.getMessage("QUARANTINE", { last_by_subj: "quarantine.>" });
  assertEquals(entry?.string(), "{ not json");
  assertEquals(entry?.header.get("Twofold-Rejected-By"), "live");
  assertEquals(entry?.header.get("Twofold-Sequence"), "61");
  await rig.metricIs('twofold_live_quarantine_copies_total{outcome="made"}', 1);
});

Deno.test("absence of heartbeats opens no-data, and resolves it after a restart", async () => {
  await using rig = await LiveRig.start({ TWOFOLD_LIVE_SILENCE_MS: "1000" });
  await rig.send(1, 1, HEALTHY);
  const silent = "alerts.pipeline.no-data open";
  await waitFor("the page", () => rig.alerts.length > 0);
  assertEquals(rig.statuses(), [silent]);

  await rig.service.stop("SIGKILL");
  await rig.service.restart();
  await rig.service.ready();
  await rig.send(1, 1, HEALTHY);
  await waitFor("the resolve", () => rig.alerts.length > 1);
  assertEquals(rig.statuses().slice(0, 2), [silent, "alerts.pipeline.no-data resolved"]);
  rig.openAndResolve();
});

Deno.test("open incidents are recovered from more subjects than one request allows", async () => {
  await using rig = await LiveRig.start({}, {}, async (stack) => {
    const js = jetstream(await stack.connect("live"));
    const acks = Array.from({ length: 1_500 }, async (_, i) => {
      const title = `t${i}`;
      const alert = anAlert(title, i === 700 ? "open" : "resolved");
      await js.publish(alertSubject.rebuffer("de", title), JSON.stringify(alert));
    });
    await Promise.all(acks);
    await js.publish(alertSubject.rebuffer("de", "odd"), "not an alert");
  });
  await rig.metricIs("twofold_live_open_alerts", 1);
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
