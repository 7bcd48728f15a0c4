/**
 * Several processes of live on the same streams, in real time.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { jetstreamManager } from "nats/jetstream";
import { alertSchema, isPage } from "../../../contract/alert.ts";
import { alertSubject } from "../../../contract/topology.ts";
import { waitFor } from "../../testing/wait_for.ts";
import { type Audience, LiveRig } from "../live_rig.ts";
import type { ServiceProcess } from "../service_process.ts";
import type { ReceivedAlert } from "../stack.ts";

/** Longest time from a stall to its page while processes come and go. */
const MAX_TO_PAGE_MS = 15_000;
const TITLES = ["premiere", "finale", "match", "quiz", "film", "news"];
const TIMEOUT = { timeoutMs: 30_000 };

/** Processes of live on one server, and an audience for each thing that happens to them. */
export class ProcessesRig implements AsyncDisposable {
  /** What is told when an audience stalls. */
  readonly subjects = TITLES.map((title) => alertSubject.rebuffer("de", title));
  readonly #settings: Record<string, string>;
  #stalled = 0;

  private constructor(
    readonly rig: LiveRig,
    readonly processes: ServiceProcess[],
    readonly audiences: readonly Audience[],
  ) {
    this.#settings = { TWOFOLD_PARTITIONS: String(rig.partitions) };
  }

  /** Starts one process, and waits until it has heard every viewer. */
  static async start(partitions: number, replicas = 1): Promise<ProcessesRig> {
    const rig = await LiveRig.start({}, { partitions, replicas });
    rig.viewers.addWorld();
    const audiences = TITLES.map((title_id) => rig.viewers.add(40, { title_id, region: "de" }));
    await rig.heard();
    return new ProcessesRig(rig, [rig.service], audiences);
  }

  /** Starts one more process. */
  async join(): Promise<void> {
    this.processes.push(await this.rig.stack.service("live", this.#settings));
  }

  /** The next audience stalls; resolves once it is paged, in time, and lets it recover. */
  async page(): Promise<void> {
    const i = this.#stalled++;
    const [audience, subject] = [this.audiences[i], this.subjects[i]];
    assert(audience !== undefined && subject !== undefined);
    this.rig.viewers.stall(audience, 0.6);
    const tookMs = await this.rig.paged(subject);
    assert(tookMs <= MAX_TO_PAGE_MS, `${subject} took ${tookMs} ms`);
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

  /**
   * Waits for the ends and asserts that each incident was told once, from its open to its end. One
   * that begins while nobody leads is told by the next one that does. With `copies`, on-call may
   * have received an alert again as ALERTS keeps it, because its acknowledgement was lost.
   */
  async assertOnce({ copies = false }: { readonly copies?: boolean } = {}): Promise<void> {
    const { rig } = this;
    const subjects = this.subjects.slice(0, this.#stalled);
    for (const subject of subjects) await rig.alertIs("resolved", subject);
    // A process that freezes on a busy machine may be told as a lag of live, too.
    const isIncident = (subject: string) => !subject.startsWith("alerts.pipeline.");
    const alerts = copies ? await this.#kept() : rig.alerts;
    const pages = alerts.filter(({ alert }) => isPage(alert)).map(({ subject }) => subject);
    assertEquals(pages.filter(isIncident), subjects);
    for (const subject of subjects) {
      const told = alerts.filter((each) => each.subject === subject).map(({ alert }) => alert);
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

  /**
   * What ALERTS keeps, once that is what on-call received: subscribers receive an alert before a
   * cluster has stored it.
   */
  async #kept(): Promise<readonly ReceivedAlert[]> {
    const { streams } = await jetstreamManager(await this.rig.stack.connect("ops"));
    const texts = (alerts: readonly ReceivedAlert[]) =>
      new Set(alerts.map((each) => JSON.stringify(each)));
    return await waitFor("ALERTS to keep what on-call received", async () => {
      const { state } = await streams.info("ALERTS");
      const kept: ReceivedAlert[] = [];
      for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
        const message = await streams.getMessage("ALERTS", { seq });
        assert(message !== null, `${seq} is not kept`);
        kept.push({ subject: message.subject, alert: alertSchema.parse(message.json()) });
      }
      const differing = texts(kept).symmetricDifference(texts(this.rig.alerts));
      if (differing.size > 0) throw new Error(`only one has ${[...differing].join("\n")}`);
      return kept;
    }, TIMEOUT);
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
