/** Several processes of live on the same streams: what they tell is what one would tell. */
import { assert, assertEquals } from "@std/assert";
import { jetstream, jetstreamManager } from "nats/jetstream";
import { type IncidentAlert, isPage } from "../shared/contract/alert.ts";
import { deliveryOf } from "../shared/contract/delivery.ts";
import { judge } from "../shared/contract/event.ts";
import {
  alertSubject,
  heartbeatStreams,
  LIVE_STATE,
  OBSERVATIONS,
} from "../shared/contract/topology.ts";
import { type Audience, LiveRig } from "../shared/dev/servers/live_rig.ts";
import type { ServiceProcess } from "../shared/dev/servers/service_process.ts";
import { waitFor } from "../shared/dev/testing/wait_for.ts";
import { Detector } from "./detect/detector.ts";
import { Decider } from "./incidents/decider.ts";
import { Incidents } from "./incidents/incidents.ts";
import { BatchBuilder, ObservationBatch } from "./sharing/observation_batch.ts";
import { Timeline } from "./sharing/timeline.ts";

/** Longest time from a stall to its page while processes come and go. */
const MAX_TO_PAGE_MS = 15_000;
const TITLES = ["premiere", "finale", "match", "quiz", "film", "news"] as const;
/** What a restart may delay a page: another process begins to lead. */
const MAX_TOLD_LATE_MS = 6_000;
const TIMEOUT = { timeoutMs: 30_000 };

/** Processes of live on one server, and an audience for each thing that happens to them. */
class ProcessesRig implements AsyncDisposable {
  readonly #settings: Record<string, string>;
  #stalled = 0;

  private constructor(
    readonly rig: LiveRig,
    readonly processes: ServiceProcess[],
    readonly audiences: readonly Audience[],
  ) {
    this.#settings = { TWOFOLD_PARTITIONS: String(rig.partitions) };
  }

  static async start(partitions: number, replicas = 1): Promise<ProcessesRig> {
    const rig = await LiveRig.start({}, { partitions, replicas });
    rig.viewers.addWorld();
    const audiences = TITLES.map((title_id) => rig.viewers.add(40, { title_id, region: "de" }));
    await rig.heard();
    return new ProcessesRig(rig, [rig.service], audiences);
  }

  async join(): Promise<void> {
    this.processes.push(await this.rig.stack.service("live", this.#settings));
  }

  /** The next audience stalls; resolves once it is paged, in time, and lets it recover. */
  async page(): Promise<void> {
    const i = this.#stalled++;
    const [audience, title] = [this.audiences[i], TITLES[i]];
    assert(audience !== undefined && title !== undefined);
    this.rig.viewers.stall(audience, 0.6);
    const tookMs = await this.rig.paged(alertSubject.rebuffer("de", title));
    assert(tookMs <= MAX_TO_PAGE_MS, `${title} took ${tookMs} ms`);
    this.rig.viewers.recover(audience);
  }

  /** Waits until exactly one of the processes that answer leads, and returns it. */
  async leader(): Promise<ServiceProcess> {
    return await waitFor("one leader", async () => {
      const leaders: ServiceProcess[] = [];
      for (const process of this.processes) {
        if ((await process.metrics()).get("twofold_live_leader") === 1) leaders.push(process);
      }
      const [leader] = leaders;
      if (leader === undefined || leaders.length !== 1) throw new Error(`${leaders.length} lead`);
      return leader;
    }, TIMEOUT);
  }

  /** Waits until each process reads its share of the streams. */
  async shared(): Promise<void> {
    const { partitions } = this.rig;
    const most = Math.ceil(partitions / this.processes.length);
    await waitFor("the streams to be shared", async () => {
      const counts = await Promise.all(
        this.processes.map(async (process) =>
          (await process.metrics()).get("twofold_live_partitions") ?? 0
        ),
      );
      const sum = counts.reduce((total, count) => total + count, 0);
      return sum === partitions && Math.max(...counts) <= most;
    }, TIMEOUT);
  }

  /** Asserts that what was told is what one process tells that has read everything. */
  async assertTold(): Promise<void> {
    const { rig } = this;
    await this.assertOnce();
    const expected = await replay(rig);
    const told = rig.alerts.map(({ alert }) => alert)
      .filter((alert) => alert.kind === "incident");
    assertEquals(told.map(outline), expected.slice(0, told.length).map(outline));
    assert(expected.slice(told.length).every((alert) => !isPage(alert)));
  }

  /**
   * Waits for the ends and asserts that each incident was told once, from its open to its end. One
   * that begins while nobody leads is told by the next one that does.
   */
  async assertOnce(): Promise<void> {
    const { rig } = this;
    const subjects = TITLES.slice(0, this.#stalled).map((title) =>
      alertSubject.rebuffer("de", title)
    );
    for (const subject of subjects) await rig.alertIs("resolved", subject);
    // A process that freezes on a busy machine may be told as a lag of live, too.
    const isIncident = (subject: string) => !subject.startsWith("alerts.pipeline.");
    assertEquals(rig.pages().filter(isIncident), subjects);
    for (const subject of subjects) {
      const told = rig.alerts.filter((each) => each.subject === subject).map(({ alert }) => alert);
      const [open] = told;
      assert(open !== undefined);
      assertEquals(told.map(({ status }) => status), [
        "open",
        ...told.slice(1, -1).map(() => "update"),
        "resolved",
      ]);
      assertEquals(new Set(told.map(({ incident_id }) => incident_id)).size, 1);
      assertEquals(
        told.map((alert) => alert.kind === "incident" && alert.update),
        told.map((_, i) => i + 1),
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { pid } of this.processes) {
      try {
        Deno.kill(pid, "SIGCONT");
      } catch { /* it has ended */ }
    }
    await this.rig[Symbol.asyncDispose]();
  }
}

/** What of an alert must not depend on who tells it. */
function outline(alert: IncidentAlert) {
  const { incident_id, status, at, onset_at, severity, page, impaired, watching, update } = alert;
  return { incident_id, status, at, onset_at, severity, page, impaired, watching, update };
}

/** What one detector finds in the streams as they are. */
async function replay(rig: LiveRig): Promise<IncidentAlert[]> {
  const streams = heartbeatStreams(rig.partitions);
  const timeline = new Timeline(streams, () => {});
  const js = jetstream(await rig.stack.connect("ops"));
  let firstMs = Infinity;
  for (const stream of streams) {
    const builder = new BatchBuilder();
    const consumer = await js.consumers.get(stream);
    const { state } = await (await js.streams.get(stream)).info();
    let heardMs = 0;
    const messages = state.messages === 0
      ? []
      : await consumer.fetch({ max_messages: state.messages, expires: 10_000 });
    for await (const message of messages) {
      const { sequence, bytes, receivedAtMs } = deliveryOf(message);
      const judgement = judge(bytes);
      builder.cover(sequence);
      if (judgement.ok) builder.add(judgement.heartbeat, receivedAtMs);
      heardMs = receivedAtMs;
      firstMs = Math.min(firstMs, receivedAtMs);
    }
    const bytes = builder.finish({ heard_to: heardMs, lag_ms: 0, by: "replay" });
    const batch = ObservationBatch.of(bytes);
    assert(batch !== undefined);
    timeline.add(stream, batch);
  }
  const alerts: IncidentAlert[] = [];
  const decider = new Decider({
    newDetector: () => new Detector({ falsePagesPerDay: 1, maxSessions: 10_000 }),
    timeline,
    canDecide: () => true,
    onAlert: (alert) => alerts.push(alert),
    onDecided: () => {},
    monotonicMs: () => performance.now(),
  });
  decider.lead(new Incidents({ pagesPerMinute: 10, silenceMs: 30_000 }));
  decider.beginAt(firstMs);
  while (!decider.advance());
  return alerts;
}

for (const partitions of [1, 4]) {
  Deno.test(`1, 2 and 3 processes over ${partitions} partitions tell what one tells`, async () => {
    await using rig = await ProcessesRig.start(partitions);
    await rig.page();
    await rig.join();
    await rig.page();
    await rig.shared();
    await rig.join();
    await rig.page();
    await rig.shared();
    await rig.assertTold();
  });

  Deno.test(`with ${partitions} partitions, processes that end or freeze lose and double nothing`, async () => {
    await using rig = await ProcessesRig.start(partitions);
    await rig.join();
    await rig.join();
    await rig.shared();

    const killed = await rig.leader();
    await killed.stop("SIGKILL");
    await rig.page();
    await killed.restart();

    const left = await rig.leader();
    assertEquals(await left.stop("SIGTERM"), 0);
    await rig.page();
    await left.restart();

    const frozen = await rig.leader();
    Deno.kill(frozen.pid, "SIGSTOP");
    await rig.page();
    Deno.kill(frozen.pid, "SIGCONT");
    await rig.page();
    await rig.leader();
    await rig.assertOnce();
  });
}

Deno.test("a rolling restart pages nothing, and a slow burn pages as without it", async () => {
  await using rig = await ProcessesRig.start(2);
  await rig.join();
  await rig.shared();
  const { viewers } = rig.rig;
  const [burning] = rig.audiences;
  assert(burning !== undefined);
  for (const process of rig.processes) {
    assertEquals(await process.stop("SIGTERM"), 0);
    await process.restart();
    await process.ready();
    await rig.leader();
  }
  await rig.shared();
  assertEquals(rig.rig.alerts.map(({ subject }) => subject), []);

  // Too little for the shorter spans: it opens on what was seen before the restart, too.
  viewers.stall(burning, 0.12);
  await rig.rig.watch(20);
  for (const process of rig.processes) {
    assertEquals(await process.stop("SIGTERM"), 0);
    await process.restart();
    await process.ready();
  }
  await rig.rig.paged(alertSubject.rebuffer("de", TITLES[0]));
  const expected = (await replay(rig.rig)).find(isPage);
  const page = rig.rig.alerts.map(({ alert }) => alert).find(isPage);
  assert(expected !== undefined && page !== undefined);
  const lateMs = page.at - expected.at;
  assert(lateMs <= MAX_TOLD_LATE_MS, `the restart delayed the page by ${lateMs} ms`);
});

Deno.test("in a cluster, new leaders of consumers and streams and a lost node lose and double nothing", async () => {
  await using rig = await ProcessesRig.start(1, 3);
  await rig.join();
  await rig.shared();
  const { stack } = rig.rig;
  const ops = await stack.connect("ops");
  const stepDown = async (what: string) => {
    const { error } = (await ops.request(`$JS.API.${what}`, "", { timeout: 5_000 })).json<
      { error?: unknown }
    >();
    assertEquals(error, undefined, what);
  };
  await stepDown("CONSUMER.LEADER.STEPDOWN.HEARTBEATS.live");
  await rig.page();
  for (const stream of ["HEARTBEATS", "OBSERVATIONS", "ALERTS", "KV_LIVE"]) {
    await stepDown(`STREAM.LEADER.STEPDOWN.${stream}`);
  }
  await rig.page();

  const jsm = await jetstreamManager(ops);
  const { cluster } = await jsm.streams.info("HEARTBEATS");
  const lost = stack.nats.nodes.find(({ launched }) => launched.node?.name === cluster?.leader);
  assert(lost !== undefined, `${cluster?.leader} is no node`);
  await lost.stop("SIGKILL");
  await rig.page();
  await lost.start();
  await rig.page();
  await rig.leader();
  await rig.assertOnce();
});

Deno.test("a bucket or a stream of live's own that is lost loses and doubles no page", async () => {
  await using rig = await ProcessesRig.start(2);
  await rig.join();
  await rig.shared();
  const { stack } = rig.rig;
  const jsm = await jetstreamManager(await stack.connect("ops"));
  await jsm.streams.delete(LIVE_STATE);
  await rig.page();
  await stack.provision({ partitions: 2 });
  await rig.page();
  await jsm.streams.delete(OBSERVATIONS);
  await stack.provision({ partitions: 2 });
  await rig.page();
  await rig.leader();
  await rig.assertOnce();
});
