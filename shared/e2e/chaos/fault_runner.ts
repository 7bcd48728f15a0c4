/**
 * A run of chaos: causes the faults of a schedule on time, notes when they held, starts again what
 * ends by itself, and judges pages and health.
 *
 * @module
 */
import { jetstreamManager } from "nats/jetstream";
import { type Alert, alertSchema, isOpen } from "../../contract/alert.ts";
import { ALERTS } from "../../contract/topology.ts";
import type { CheckLine } from "../../dev/demo/check_line.ts";
import type { PageWebhook } from "../../dev/demo/page_webhook.ts";
import type { Fault } from "../../dev/demo/scenario.ts";
import type { Pipeline } from "../../dev/servers/pipeline.ts";
import { messageOf } from "../../process/errors.ts";
import { pause } from "../../process/retry.ts";
import { cause, processOf, writeErrorOf } from "./faults.ts";
import { chaosChecks, type FaultDone, type Page } from "./judge.ts";
import type { NatsDisks } from "./disks.ts";
import type { ProxyLinks } from "./links.ts";
import { type ChaosFault, type ChaosSchedule, natsNames, PROCESSES } from "./schedule.ts";

/** Maximum time after the last heartbeat until everything is healthy. */
const RECOVERY_MS = 60_000;
const SUPERVISE_MS = 250;
const NATS_CHECK_MS = 2_000;
const MAX_LOG_CHARS = 300;

/** The faults of a run: causes them, notes when they held, and restarts what ends by itself. */
export class FaultRunner implements Disposable {
  readonly #done: FaultDone[] = [];
  readonly #mistakes: string[] = [];
  readonly #ended: string[] = [];
  readonly #mended: string[] = [];
  readonly #underWay = new Map<string, Promise<void>>();
  #startMs = 0;
  #pipeline: Pipeline | undefined;
  readonly #timers: ReturnType<typeof setInterval>[] = [];
  #recoversUntilMs: number | undefined;
  #ill: readonly string[] = [];

  constructor(
    readonly schedule: ChaosSchedule,
    readonly webhook: PageWebhook,
    readonly links: ProxyLinks,
    readonly disks: NatsDisks | undefined,
  ) {}

  /** The run starts at `startMs`. */
  begin(startMs: number): void {
    this.#startMs = startMs;
  }

  /** As steps of a scenario. None waits, because faults overlap. */
  faults(): Fault[] {
    const { faults, incidents } = this.schedule;
    const steps = [
      {
        atMs: 0,
        what: `${faults.length} faults`,
        act: (pipeline: Pipeline) => this.#watch(pipeline),
      },
      ...faults.map((fault) => ({
        atMs: fault.beginMs,
        what: `${fault.kind} ${fault.target} for ${seconds(fault.endMs - fault.beginMs)}`,
        act: (pipeline: Pipeline) => this.#start(fault, pipeline),
      })),
      ...incidents.map(({ cdn, region, beginMs, endMs }) => ({
        atMs: beginMs,
        what: `incident: ${cdn} fails in ${region} for ${seconds(endMs - beginMs)}`,
      })),
    ];
    return steps.sort((a, b) => a.atMs - b.atMs);
  }

  /** Whether no fault is left, and all are healthy or had the time to become so. */
  async isOver(): Promise<boolean> {
    if (this.#underWay.size > 0) return false;
    this.#recoversUntilMs ??= Date.now() + RECOVERY_MS;
    this.#ill = await this.#findIll();
    if (this.#ill.length > 0 && Date.now() < this.#recoversUntilMs) return false;
    this[Symbol.dispose]();
    return true;
  }

  checks(): CheckLine[] {
    return chaosChecks({
      startMs: this.#startMs,
      nodes: this.schedule.nodes,
      incidents: this.schedule.incidents,
      planned: this.schedule.faults.length,
      done: this.#done,
      mistakes: this.#mistakes,
      pages: this.webhook.pages.map(({ atMs, alert }) => pageOf(atMs, alert)),
      ended: this.#ended,
      mended: this.#mended,
      ill: this.#ill,
    });
  }

  #watch(pipeline: Pipeline): Promise<void> {
    this.#pipeline = pipeline;
    this.#timers.push(
      setInterval(() => void this.#supervise(pipeline), SUPERVISE_MS),
      setInterval(() => void this.#mendNats(pipeline), NATS_CHECK_MS),
    );
    return Promise.resolve();
  }

  // As Kubernetes does: a process that ends is started again.
  async #supervise(pipeline: Pipeline): Promise<void> {
    for (const name of PROCESSES) {
      const service = processOf(name, pipeline);
      const { exitCode } = service;
      if (exitCode === null || this.#underWay.has(name)) continue;
      const atMs = Date.now() - this.#startMs;
      const started = service.restart();
      this.#underWay.set(name, started);
      await started.catch((error) => this.#mistakes.push(`restart ${name}: ${messageOf(error)}`))
        .finally(() => this.#underWay.delete(name));
      const log = await Deno.readTextFile(`${pipeline.workspace.folder}/${service.name}.log`);
      this.#ended.push(`${name} with ${exitCode} at ${seconds(atMs)}: ${lastError(log)}`);
    }
  }

  // As on-call does: after an error of the disk, nats-server writes to that stream no more.
  async #mendNats({ nats: { nodes } }: Pipeline): Promise<void> {
    for (const [i, name] of natsNames(nodes.length).entries()) {
      const node = nodes[i];
      if (!node || this.#underWay.has(name)) continue;
      const error = await writeErrorOf(node);
      if (error === undefined || this.#underWay.has(name)) continue;
      const atMs = Date.now() - this.#startMs;
      const restarted = node.stop().then(() => node.start());
      this.#underWay.set(name, restarted);
      await restarted.catch((error) => this.#mistakes.push(`restart ${name}: ${messageOf(error)}`))
        .finally(() => this.#underWay.delete(name));
      this.#mended.push(`${name} at ${seconds(atMs)}: ${error.slice(0, MAX_LOG_CHARS)}`);
      // Until now its fault held.
      const held = this.#done.findLastIndex(({ fault }) => fault.target === name);
      const before = this.#done[held];
      if (before) this.#done[held] = { ...before, toMs: Date.now() };
    }
  }

  #start(fault: ChaosFault, pipeline: Pipeline): Promise<void> {
    const { target } = fault;
    // The supervisor may be restarting it.
    const before = this.#underWay.get(target) ?? Promise.resolve();
    const ran = before.then(() => this.#run(fault, pipeline))
      .catch((error) => void this.#mistakes.push(`${fault.kind} ${target}: ${messageOf(error)}`))
      .finally(() => {
        if (this.#underWay.get(target) === ran) this.#underWay.delete(target);
      });
    this.#underWay.set(target, ran);
    return Promise.resolve();
  }

  async #run(fault: ChaosFault, pipeline: Pipeline): Promise<void> {
    const fromMs = Date.now();
    const undo = await cause(fault, { pipeline, links: this.links, disks: this.disks });
    await pause(Math.max(0, this.#startMs + fault.endMs - Date.now()));
    await undo();
    this.#done.push({ fault, fromMs, toMs: Date.now() });
  }

  async #findIll(): Promise<string[]> {
    const pipeline = this.#pipeline;
    if (pipeline === undefined) return ["the pipeline has not started"];
    const states = await Promise.all(PROCESSES.map(async (name) => {
      const { status, reason } = await processOf(name, pipeline).readiness()
        .catch((error) => ({ status: 0, reason: messageOf(error) }));
      return status === 200 ? [] : [`${name}: ${reason}`];
    }));
    return [...states.flat(), ...await openAlerts(pipeline)];
  }

  [Symbol.dispose](): void {
    this.#timers.forEach(clearInterval);
  }
}

/** The alerts of the pipeline that are open: the last message of each subject tells. */
async function openAlerts(pipeline: Pipeline): Promise<string[]> {
  const nc = await pipeline.nats.connect("ops");
  try {
    const jsm = await jetstreamManager(nc, { checkAPI: false });
    const { state } = await jsm.streams.info(ALERTS, { subjects_filter: "alerts.pipeline.>" });
    const open = await Promise.all(
      Object.keys(state.subjects ?? {}).map(async (subject) => {
        const last = await jsm.streams.getMessage(ALERTS, { last_by_subj: subject });
        const alert = alertSchema.parse(last?.json());
        return isOpen(alert) ? [`${subject}: ${alert.summary}`] : [];
      }),
    );
    return open.flat();
  } finally {
    await nc.close();
  }
}

function pageOf(atMs: number, alert: Alert): Page {
  if (alert.kind === "incident") return { atMs, what: alert.kind, said: alert };
  return { atMs, what: alert.kind === "pipeline" ? alert.what : `quarantine-${alert.reason}` };
}

/** The last line of a log that says an error. */
function lastError(log: string): string {
  const line = log.split("\n").findLast((each) => /"level":"error"|^error: /.test(each)) ?? "";
  return line.slice(0, MAX_LOG_CHARS);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
