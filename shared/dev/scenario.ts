/**
 * One run of the whole pipeline: send a timeline through the edge, let faults happen, let
 * everything settle, and hold the statement against the ground truth. The demo and the replay of
 * recordings are both scenarios.
 *
 * @module
 */
import { z } from "zod";
import { messageOf, Stop } from "../errors.ts";
import { pause } from "../lifecycle.ts";
import { DeviceClient, drive } from "./device_client.ts";
import type { Tick } from "./fleet.ts";
import { Observer } from "./observer.ts";
import { Pipeline, type PipelineOptions } from "./pipeline.ts";
import { Terminal } from "./terminal.ts";
import { Truth } from "./truth.ts";
import {
  type AlertExpectation,
  type AlertSeen,
  readStatement,
  renderVerdict,
  type RoyaltyAccounting,
  type Verdict,
  verdictOf,
} from "./verdict.ts";
import { waitFor } from "./wait_for.ts";
import { Workspace } from "./workspace.ts";

const DAY_MS = 86_400_000;
/** Longest that the pipeline may take to work off what was sent, ms. */
const SETTLE_DEADLINE_MS = 120_000;
/** The slowest acceptable alert, from the start of the incident; DESIGN's hard limit. */
const ALERT_LIMIT_MS = 30_000;

/** Something that is done to the pipeline while it runs. */
export interface Fault {
  /** ms since the start of the run. */
  readonly atMs: number;
  readonly what: string;
  readonly act?: (pipeline: Pipeline) => Promise<void>;
}

/** What to send, what to do meanwhile, and what to expect. Times are ms since the epoch. */
export interface Scenario {
  readonly pipeline: PipelineOptions;
  readonly duplicateWindowMs: number;
  readonly seed: number;
  /** Called when the servers are up: event times depend on when the run really starts. */
  readonly begin: (startEpochMs: number) => {
    readonly ticks: Iterable<Tick>;
    readonly expectations: readonly AlertExpectation[];
    /** The earliest event time; statements are exported from its day to today's. */
    readonly firstEventMs: number;
    /** What the statement must say per title, by an account independent of the heartbeats, in ms. */
    readonly recordedMs?: ReadonlyMap<string, number>;
  };
  readonly faults: readonly Fault[];
}

/** Where the outcome also goes. */
export interface ScenarioOutput {
  /** File for everything as JSON. */
  readonly json?: string;
}

/** Runs a scenario as a program: exits 0 when every line of the verdict holds, else 1. */
export async function runScenario(
  read: (args: readonly string[]) => Scenario & ScenarioOutput | Promise<Scenario & ScenarioOutput>,
): Promise<never> {
  const abort = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, () => abort.abort(new Stop("stopped by a signal")));
  }
  try {
    const scenario = await read(Deno.args);
    const verdict = await play(scenario, abort.signal);
    console.log(`\n${renderVerdict(verdict)}`);
    Deno.exit(verdict.ok ? 0 : 1);
  } catch (error) {
    console.error(messageOf(error));
    Deno.exit(error instanceof Stop ? error.exitCode : 1);
  }
}

async function play(scenario: Scenario & ScenarioOutput, signal: AbortSignal): Promise<Verdict> {
  const terminal = new Terminal(Date.now());
  const progress = (step: string) => terminal.note(Date.now(), step);
  await using workspace = await Workspace.temporary();
  await using pipeline = await Pipeline.start(workspace, { ...scenario.pipeline, progress });
  signal.throwIfAborted();
  const observer = await Observer.start(pipeline);
  const run = new Run(scenario, pipeline, observer, terminal, signal);
  await run.send();
  await run.settle();
  return await run.judge();
}

class Run {
  readonly #truth: Truth;
  readonly #startEpochMs = Date.now();
  readonly #plan: ReturnType<Scenario["begin"]>;

  constructor(
    readonly scenario: Scenario & ScenarioOutput,
    readonly pipeline: Pipeline,
    readonly observer: Observer,
    readonly terminal: Terminal,
    readonly signal: AbortSignal,
  ) {
    this.#truth = new Truth(scenario.duplicateWindowMs);
    this.#plan = scenario.begin(this.#startEpochMs);
  }

  /** Sends the timeline while faults happen and the view is kept up to date. */
  async send(): Promise<void> {
    const { pipeline, scenario, signal } = this;
    const client = new DeviceClient({
      url: pipeline.services.ingest.url,
      key: pipeline.fleetKey,
      seed: scenario.seed,
      record: (send, outcome, sentAtMs) => this.#truth.record(send, outcome, sentAtMs),
    });
    const finished = new AbortController();
    const watching = this.#watch(finished.signal);
    const faults = this.#faults();
    try {
      this.#note("sending heartbeats");
      await drive(client, this.#plan.ticks, { startAtMs: performance.now(), signal });
      signal.throwIfAborted();
      await faults;
    } finally {
      finished.abort();
      await watching;
    }
    const { requests, refused, refusals } = client.report;
    this.#note(`sent ${this.#truth.report().sent} events in ${requests} requests`);
    if (refused > 0) this.#note(`the edge refused ${refused} for good: ${refusals.join("; ")}`);
  }

  /** Waits until every reader has worked off its stream. */
  async settle(): Promise<void> {
    this.#note("waiting for every consumer to finish");
    await waitFor("every consumer to finish", async () => {
      this.signal.throwIfAborted();
      const snapshot = await this.observer.snapshot();
      this.terminal.show(snapshot);
      const { live, royalty, triage } = snapshot.lag;
      return live + royalty + triage === 0;
    }, { timeoutMs: SETTLE_DEADLINE_MS });
  }

  /** Exports the statement as finance would and compares. */
  async judge(): Promise<Verdict> {
    const { pipeline, observer, scenario } = this;
    const truth = this.#truth.report();
    const input = {
      truth,
      statement: await this.#statement(),
      accounting: await accountingOf(pipeline),
      triageEntries: await entriesOf(pipeline),
      expectations: this.#plan.expectations,
      recordedMs: this.#plan.recordedMs,
      alerts: alertsSeen(observer),
      alertLimitMs: ALERT_LIMIT_MS,
    };
    if (observer.unreadable.length > 0) {
      throw new Stop(`alerts that do not follow the schema: ${observer.unreadable.join("; ")}`);
    }
    const verdict = verdictOf(input);
    if (scenario.json) {
      const { alerts } = observer;
      const all = { seed: scenario.seed, startEpochMs: this.#startEpochMs, ...input, alerts };
      const text = JSON.stringify({ ...all, verdict }, mapsAsObjects, 2);
      await Deno.writeTextFile(scenario.json, text + "\n");
    }
    return verdict;
  }

  async #statement() {
    const totals = new Map<string, { ms: number; events: number }>();
    for (const day of daysBetween(this.#plan.firstEventMs, Date.now())) {
      const csv = await this.pipeline.cli("royalty", ["export", "--day", day]);
      for (const [titleId, { ms, events }] of readStatement(csv)) {
        const sum = totals.get(titleId) ?? { ms: 0, events: 0 };
        totals.set(titleId, { ms: sum.ms + ms, events: sum.events + events });
      }
    }
    return totals;
  }

  async #faults(): Promise<void> {
    for (const { atMs, what, act } of this.scenario.faults) {
      await pause(this.#startEpochMs + atMs - Date.now(), this.signal);
      if (this.signal.aborted) return;
      this.#note(what);
      await act?.(this.pipeline);
    }
  }

  async #watch(finished: AbortSignal): Promise<void> {
    let heard = 0;
    while (!finished.aborted) {
      for (const { alert, subject } of this.observer.alerts.slice(heard)) {
        this.#note(`on-call hears ${subject}: ${alert.status}, ${alert.summary}`);
      }
      heard = this.observer.alerts.length;
      // The view must not end a run: a server may be down on purpose.
      const snapshot = await this.observer.snapshot().catch(() => undefined);
      if (snapshot) this.terminal.show(snapshot);
      await pause(1_000, finished);
    }
  }

  #note(text: string): void {
    this.terminal.note(Date.now(), text);
  }
}

const statusSchema = z.object({
  streams: z.array(z.object({
    last_seq: z.number(),
    counted: z.number(),
    duplicates: z.number(),
    quarantined: z.number(),
    gaps: z.number(),
  })),
});

async function accountingOf(pipeline: Pipeline): Promise<RoyaltyAccounting> {
  const status = JSON.parse(await pipeline.cli("royalty", ["status", "--json"]));
  const { streams } = statusSchema.parse(status);
  const sum = (of: (stream: typeof streams[number]) => number) =>
    streams.reduce((total, stream) => total + of(stream), 0);
  return {
    lastSeq: sum((stream) => stream.last_seq),
    counted: sum((stream) => stream.counted),
    duplicates: sum((stream) => stream.duplicates),
    quarantined: sum((stream) => stream.quarantined),
    gaps: sum((stream) => stream.gaps),
  };
}

async function entriesOf(pipeline: Pipeline): Promise<number> {
  const json = await pipeline.cli("triage", ["list", "--limit", "10000", "--json"]);
  const groups = z.array(z.object({ entries: z.number() })).parse(JSON.parse(json));
  return groups.reduce((sum, { entries }) => sum + entries, 0);
}

function alertsSeen(observer: Observer): AlertSeen[] {
  return observer.alerts.flatMap(({ alert, heardAtMs }) =>
    alert.kind === "rebuffer" && alert.status === "open"
      ? [{ titleId: alert.title_id, region: alert.region, heardAtMs }]
      : []
  );
}

/** The UTC days from that of `fromMs` to that of `toMs`, as `YYYY-MM-DD`. */
function daysBetween(fromMs: number, toMs: number): string[] {
  const days: string[] = [];
  for (let ms = fromMs - fromMs % DAY_MS; ms <= toMs; ms += DAY_MS) {
    days.push(new Date(ms).toISOString().slice(0, 10));
  }
  return days;
}

function mapsAsObjects(_key: string, value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries(value) : value;
}
