/** Live and royalty as processes on real servers, reading one stream; drift as on-call receives it. */
import { assert, assertEquals, assertExists } from "@std/assert";
import type { NatsConnection } from "nats";
import { jetstream } from "nats/jetstream";
import type { PipelineAlert } from "../../shared/contract/alert.ts";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { type ServiceProcess, sumOf } from "../../shared/dev/servers/service_process.ts";
import { type ReceivedAlert, Stack } from "../../shared/dev/servers/stack.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import type { LiveTotals } from "../../shared/contract/totals.ts";
import { DURABLE, heartbeatSubject, liveTotalsSubject } from "../../shared/contract/topology.ts";

const DRIFT = "alerts.pipeline.drift";
const SETTINGS = { TWOFOLD_TOTALS_INTERVAL_MS: "1000", TWOFOLD_DRIFT_MIN_EVENTS: "20" };
const OF_A_MINUTE: LiveTotals = {
  v: 1,
  stream: "HEARTBEATS",
  interval_ms: 60_000,
  from: 0,
  quiet_since: 0,
  events: 1_000,
  played_ms: 1_000,
};
/** Time between two publishes; about 200 heartbeats a second. */
const PUBLISH_EVERY_MS = 5;

/** Both services, a steady flow of heartbeats, and on-call. */
class DriftRig implements AsyncDisposable {
  /** Heartbeats that were published, without copies. */
  sent = 0;
  readonly #random = new Random(11);
  #timer: ReturnType<typeof setInterval> | undefined;

  private constructor(
    readonly stack: Stack,
    readonly live: ServiceProcess,
    readonly royalty: ServiceProcess,
    readonly ingest: NatsConnection,
    readonly received: readonly ReceivedAlert[],
  ) {}

  static async start(): Promise<DriftRig> {
    const stack = await Stack.start();
    const [live, royalty] = await Promise.all([
      stack.service("live", SETTINGS),
      stack.service("royalty", SETTINGS),
    ]);
    const ingest = await stack.connect("ingest");
    return new DriftRig(stack, live, royalty, ingest, await stack.receiveAlerts(DRIFT));
  }

  /** The alerts that on-call has received. */
  get alerts(): PipelineAlert[] {
    return this.received.map(({ alert }) => alert).filter((alert) => alert.kind === "pipeline");
  }

  /** Publishes heartbeats from now on: some repeated, some unreadable, some hours or weeks late. */
  startPublishing(): void {
    // No sleep: a source of heartbeats that keeps its rate.
    this.#timer = setInterval(() => {
      this.sent += 1;
      const lateMs = this.sent % 20 === 3 ? 3_600_000 : this.sent % 20 === 7 ? 30 * 86_400_000 : 0;
      const bytes = encode(aHeartbeat(this.#random, Date.now() - lateMs));
      this.#land(this.sent % 50 === 0 ? encode("not a heartbeat") : bytes);
      if (this.sent % 10 === 0) this.#land(bytes);
    }, PUBLISH_EVERY_MS);
  }

  /** How many intervals royalty has compared with live's. */
  async compared(): Promise<number> {
    const metrics = await this.royalty.metrics();
    return sumOf(metrics, "twofold_royalty_drift_intervals_total", { outcome: "compared" });
  }

  /** Waits until `count` more intervals have been compared. */
  async comparedMore(count: number): Promise<void> {
    const before = await this.compared();
    await waitFor(`${count} more intervals`, async () => await this.compared() >= before + count, {
      timeoutMs: 30_000,
    });
  }

  #land(bytes: Uint8Array): void {
    this.ingest.publish(heartbeatSubject(0, "de"), bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.stack[Symbol.asyncDispose]();
  }
}

Deno.test("live and royalty agree on every compared interval, also after being killed", async () => {
  await using rig = await DriftRig.start();
  // Malformed totals, and totals of another interval length, are not compared.
  const live = await rig.stack.connect("live");
  const subject = liveTotalsSubject("HEARTBEATS");
  for (const body of ["{", "{}", JSON.stringify(OF_A_MINUTE)]) live.publish(subject, body);
  rig.startPublishing();
  await rig.comparedMore(3);
  for (const service of [rig.live, rig.royalty]) {
    await service.stop("SIGKILL");
    await service.restart();
    await service.ready();
    await rig.comparedMore(3);
  }
  const share = (await rig.royalty.metrics()).get(
    'twofold_royalty_drift_ratio{stream="HEARTBEATS"}',
  );
  assertEquals(share, 0);
  assertEquals(rig.alerts, []);
});

Deno.test("heartbeats that live misses open a drift, which survives a restart of royalty", async () => {
  await using rig = await DriftRig.start();
  rig.startPublishing();
  await rig.comparedMore(2);

  // Another process on live's durable takes one message in ten or twenty.
  const rival = jetstream(await rig.stack.connect("live"));
  const consumer = await rival.consumers.get("HEARTBEATS", DURABLE.live);
  let isTaking = true;
  const taking = (async () => {
    while (isTaking) {
      await consumer.next({ expires: 1_000 });
      const due = rig.sent + 14;
      await waitFor("more heartbeats", () => rig.sent >= due || !isTaking);
    }
  })();
  await waitFor("the alert", () => rig.alerts.length > 0, { timeoutMs: 30_000 });
  const [opened] = rig.alerts;
  assertExists(opened);
  assertEquals([opened.what, opened.status, opened.severity], ["drift", "open", "ticket"]);
  assertExists(opened.value);
  assert(opened.value > 0.02 && opened.value < 0.2, `${opened.value} apart`);
  assertEquals(opened.limit, 0.01);
  assert(opened.summary.startsWith("Live and royalty differ on HEARTBEATS: "), opened.summary);

  await rig.royalty.stop("SIGKILL");
  await rig.royalty.restart();
  await rig.royalty.ready();
  await rig.comparedMore(4);
  assertEquals(rig.alerts.length, 1);

  isTaking = false;
  await taking;
  await waitFor("the resolve", () => rig.alerts.length > 1, { timeoutMs: 30_000 });
  const [, resolved] = rig.alerts;
  assertExists(resolved);
  assertEquals([resolved.status, resolved.incident_id], ["resolved", opened.incident_id]);
  assertEquals(resolved.opened_at, opened.opened_at);
});
