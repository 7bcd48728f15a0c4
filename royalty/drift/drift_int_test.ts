/** Live's and royalty's processes on real servers, reading one stream: drift through its face, ALERTS. */
import { assert, assertEquals, assertExists } from "@std/assert";
import type { NatsConnection } from "nats";
import { jetstream } from "nats/jetstream";
import { type PipelineAlert, pipelineAlertSchema } from "../../shared/contract/alert.ts";
import { freePort } from "../../shared/dev/servers/free_port.ts";
import { aHeartbeat, encode } from "../../shared/dev/testing/heartbeats.ts";
import { Random } from "../../shared/dev/testing/random.ts";
import { ServiceProcess, sumOf } from "../../shared/dev/servers/service_process.ts";
import { Stack } from "../../shared/dev/servers/stack.ts";
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
/** Between two publishes; about 200 heartbeats a second. */
const BEAT_MS = 5;

/** Both services, a steady flow of heartbeats, and on-call. */
class Scene implements AsyncDisposable {
  readonly alerts: PipelineAlert[] = [];
  readonly #random = new Random(11);
  #timer: ReturnType<typeof setInterval> | undefined;
  #sent = 0;

  private constructor(
    readonly stack: Stack,
    readonly live: ServiceProcess,
    readonly royalty: ServiceProcess,
    readonly ingest: NatsConnection,
  ) {}

  static async start(): Promise<Scene> {
    const stack = await Stack.start();
    const databaseUrl = stack.databaseUrl("royalty");
    const reach = [stack.nats.url, `127.0.0.1:${stack.postgres.port}`];
    const live = await ServiceProcess.start(stack.workspace, "live", {
      httpPort: freePort(),
      reach,
      settings: { ...stack.nats.settings("live"), ...SETTINGS },
    });
    const royalty = await ServiceProcess.start(stack.workspace, "royalty", {
      httpPort: freePort(),
      reach,
      settings: {
        ...stack.nats.settings("royalty"),
        ...SETTINGS,
        TWOFOLD_POSTGRES_URL: databaseUrl,
      },
    });
    const scene = new Scene(stack, live, royalty, await stack.connect("ingest"));
    const oncall = await stack.connect("oncall");
    oncall.subscribe(DRIFT, {
      callback: (_error, message) => {
        scene.alerts.push(pipelineAlertSchema.parse(message.json()));
      },
    });
    await oncall.flush();
    return scene;
  }

  /** Heartbeats from now on: some repeated, some unreadable, some hours or weeks late. */
  flow(): void {
    this.#timer = setInterval(() => {
      this.#sent += 1;
      const lateMs = this.#sent % 20 === 3
        ? 3_600_000
        : this.#sent % 20 === 7
        ? 30 * 86_400_000
        : 0;
      const bytes = encode(aHeartbeat(this.#random, Date.now() - lateMs));
      this.#land(this.#sent % 50 === 0 ? encode("not a heartbeat") : bytes);
      if (this.#sent % 10 === 0) this.#land(bytes);
    }, BEAT_MS);
  }

  /** The intervals of royalty that were compared with live's. */
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
    await Promise.all([this.live.stop(), this.royalty.stop()]);
    await this.stack[Symbol.asyncDispose]();
  }
}

Deno.test("both in good health, killed and restarted, agree on everything they compare", async () => {
  await using scene = await Scene.start();
  // What is not live's totals, or of other intervals, is not compared.
  const live = await scene.stack.connect("live");
  const subject = liveTotalsSubject("HEARTBEATS");
  for (const body of ["{", "{}", JSON.stringify(OF_A_MINUTE)]) live.publish(subject, body);
  scene.flow();
  await scene.comparedMore(3);
  for (const service of [scene.live, scene.royalty]) {
    await service.stop("SIGKILL");
    await service.restart();
    await service.ready();
    await scene.comparedMore(3);
  }
  const share = (await scene.royalty.metrics()).get(
    'twofold_royalty_drift_ratio{stream="HEARTBEATS"}',
  );
  assertEquals(share, 0);
  assertEquals(scene.alerts, []);
});

Deno.test("heartbeats that live does not get are a drift, also over a restart of royalty", async () => {
  await using scene = await Scene.start();
  scene.flow();
  await scene.comparedMore(2);

  // Another process on live's durable, taking one in ten or twenty.
  const rival = jetstream(await scene.stack.connect("live"));
  const consumer = await rival.consumers.get("HEARTBEATS", DURABLE.live);
  let isTaking = true;
  const taking = (async () => {
    while (isTaking) {
      await consumer.next({ expires: 1_000 });
      await new Promise((resolve) => setTimeout(resolve, 70));
    }
  })();
  await waitFor("the alert", () => scene.alerts.length > 0, { timeoutMs: 30_000 });
  const [opened] = scene.alerts;
  assertExists(opened);
  assertEquals([opened.what, opened.status, opened.severity], ["drift", "open", "ticket"]);
  assertExists(opened.value);
  assert(opened.value > 0.02 && opened.value < 0.2, `${opened.value} apart`);
  assertEquals(opened.limit, 0.01);
  assert(opened.summary.startsWith("Live and royalty differ on HEARTBEATS: "), opened.summary);

  await scene.royalty.stop("SIGKILL");
  await scene.royalty.restart();
  await scene.royalty.ready();
  await scene.comparedMore(4);
  assertEquals(scene.alerts.length, 1);

  isTaking = false;
  await taking;
  await waitFor("the resolve", () => scene.alerts.length > 1, { timeoutMs: 30_000 });
  const [, resolved] = scene.alerts;
  assertExists(resolved);
  assertEquals([resolved.status, resolved.incident_id], ["resolved", opened.incident_id]);
  assertEquals(resolved.opened_at, opened.opened_at);
});
