import { assert, assertEquals } from "@std/assert";
import { canarySubject, heartbeatStreams } from "../../../shared/contract/topology.ts";
import { freePort } from "../../../shared/dev/servers/free_port.ts";
import { ServiceProcess } from "../../../shared/dev/servers/service_process.ts";
import { type ReceivedAlert, Stack } from "../../../shared/dev/servers/stack.ts";
import { waitFor } from "../../../shared/dev/testing/wait_for.ts";
import { STOPPED_AFTER_MS } from "./canary_watch.ts";

const MAX_PAGE_MS = 20_000;
const TIMEOUT = { timeoutMs: 60_000 };
const KEY = "a-key-of-the-canary-fleet";

/** Everything that a canary passes, and the pager that sends them. */
class CanaryRig implements AsyncDisposable {
  private constructor(
    readonly stack: Stack,
    readonly ingest: ServiceProcess,
    readonly live: ServiceProcess,
    readonly royalty: ServiceProcess,
    readonly pager: ServiceProcess,
    readonly alerts: readonly ReceivedAlert[],
  ) {}

  static async start(
    partitions: number,
    settings: Readonly<Record<string, string>> = {},
  ): Promise<CanaryRig> {
    const stack = await Stack.start({ partitions });
    const shared = { TWOFOLD_PARTITIONS: String(partitions) };
    const alerts = await stack.receiveAlerts("alerts.pipeline.*");
    const [ingest, live, royalty] = await Promise.all([
      stack.service("ingest", { ...shared, TWOFOLD_FLEET_KEYS: `canary:${KEY}` }),
      stack.service("live", shared),
      stack.service("royalty", shared),
    ]);
    const pager = await ServiceProcess.start(stack.workspace, "pager", {
      httpPort: freePort(),
      reach: [stack.nats.url, new URL(ingest.url).host],
      settings: {
        ...stack.settings("pager"),
        ...shared,
        TWOFOLD_PAGER_EDGE_URL: ingest.url,
        TWOFOLD_PAGER_EDGE_KEY: KEY,
        ...settings,
      },
    });
    return new CanaryRig(stack, ingest, live, royalty, pager, alerts);
  }

  /** What is open or resolved of canaries, in order. */
  get said(): string[] {
    return this.alerts.map(({ alert, subject }) => `${subject} ${alert.status}`)
      .filter((each) => each.startsWith("alerts.pipeline.canary"));
  }

  /** Waits until canaries were seen to come out of both ways of every partition. */
  async works(partitions: number): Promise<void> {
    await waitFor("echoes on every way", async () => {
      const metrics = await this.pager.metrics();
      return ["live", "books"].every((path) =>
        Array.from(
          { length: partitions },
          (_, partition) =>
            metrics.get(
              `twofold_pager_canary_age_seconds{path="${path}",partition="${partition}"}`,
            ),
        ).every((age) => age !== undefined && age < 10)
      );
    }, TIMEOUT);
  }

  /** Waits until canaries of `subject` are `status`; resolves with the summary. */
  async saidIs(subject: string, status: string): Promise<string> {
    const found = await waitFor(`${subject} ${status}`, () => {
      const one = this.alerts.find(({ alert, ...each }) =>
        each.subject === subject && alert.status === status
      );
      if (one) return one;
      throw new Error(this.said.join(", "));
    }, TIMEOUT);
    return found.alert.summary;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pager.stop("SIGKILL");
    await this.stack[Symbol.asyncDispose]();
  }
}

for (const partitions of [1, 2]) {
  Deno.test(`canaries time edge to live and edge to books, in ${partitions} partitions`, async () => {
    await using rig = await CanaryRig.start(partitions, {
      TWOFOLD_PAGER_CANARY_INTERVAL_MS: "500",
    });
    await rig.works(partitions);
    const metrics = await rig.pager.metrics();
    for (let partition = 0; partition < partitions; partition++) {
      for (const path of ["live", "books"]) {
        const name = `twofold_pager_canary_seconds{path="${path}",partition="${partition}"}`;
        const seconds = metrics.get(name) ?? NaN;
        assert(seconds > 0 && seconds < 10, `${name} ${seconds}`);
      }
      // The canary of each partition is in the stream of that partition.
      const stream = heartbeatStreams(partitions)[partition];
      const rows = await rig.stack.admin()<
        { readonly canaries: number; readonly counted: number }[]
      >`
        select canaries::int, counted::int from royalty.stream_position where stream = ${
        stream ?? ""
      }`;
      assert((rows[0]?.canaries ?? 0) > 0);
      assertEquals(rows[0]?.counted, 0);
    }
    assertEquals(rig.said, []);
    assertEquals((await rig.live.metrics()).get("twofold_live_sessions"), 0);
  });
}

Deno.test("live frozen, royalty dead, the edge away: each pages within 20 s, and resolves", async () => {
  await using rig = await CanaryRig.start(2);
  await rig.works(2);

  Deno.kill(rig.live.pid, "SIGSTOP");
  let startMs = Date.now();
  // Forged echoes of canaries that nobody sent change nothing.
  const live = await rig.stack.connect("live");
  // No sleep: the forger.
  const forging = setInterval(() => {
    for (const stream of heartbeatStreams(2)) {
      const echo = {
        v: 1,
        event_id: crypto.randomUUID(),
        stream,
        sequence: 1,
        received_at: Date.now(),
      };
      live.publish(canarySubject("live", stream), JSON.stringify(echo));
    }
  }, 100);
  try {
    const summary = await rig.saidIs("alerts.pipeline.canary-live", "open");
    assert(Date.now() - startMs < MAX_PAGE_MS, `${Date.now() - startMs} ms`);
    assert(Date.now() - startMs >= STOPPED_AFTER_MS - 5_000, `${Date.now() - startMs} ms`);
    assert(summary.includes("partitions 0, 1"), summary);
  } finally {
    clearInterval(forging);
  }
  Deno.kill(rig.live.pid, "SIGCONT");
  await rig.saidIs("alerts.pipeline.canary-live", "resolved");

  await rig.royalty.stop("SIGKILL");
  startMs = Date.now();
  await rig.saidIs("alerts.pipeline.canary-books", "open");
  assert(Date.now() - startMs < MAX_PAGE_MS, `${Date.now() - startMs} ms`);
  await rig.royalty.restart();
  await rig.saidIs("alerts.pipeline.canary-books", "resolved");

  await rig.ingest.stop("SIGKILL");
  startMs = Date.now();
  await rig.saidIs("alerts.pipeline.canary-edge", "open");
  assert(Date.now() - startMs < MAX_PAGE_MS, `${Date.now() - startMs} ms`);
  await rig.ingest.restart();
  await rig.saidIs("alerts.pipeline.canary-edge", "resolved");
  // What the edge does not accept is no fault of live or of the books, and nothing is said twice.
  assertEquals(rig.said, [
    "alerts.pipeline.canary-live open",
    "alerts.pipeline.canary-live resolved",
    "alerts.pipeline.canary-books open",
    "alerts.pipeline.canary-books resolved",
    "alerts.pipeline.canary-edge open",
    "alerts.pipeline.canary-edge resolved",
  ]);
});
