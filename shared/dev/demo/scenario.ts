/**
 * One run of the whole pipeline: sends a timeline through the edge, causes faults, waits until
 * every reader has caught up, and compares the statement with the ground truth. The demo and the
 * replay of recordings are scenarios.
 *
 * @module
 */
import { z } from "zod";
import { isPage } from "../../contract/alert.ts";
import type { Options } from "../../process/cli/declaration.ts";
import type { Io } from "../../process/cli/io.ts";
import { filePath, integer } from "../../process/cli/parsers.ts";
import { messageOf, Stop } from "../../process/errors.ts";
import { toJson } from "../../process/cli/json_output.ts";
import { pause } from "../../process/retry.ts";
import { statementText } from "./closing_verdict.ts";
import { DeviceClient, type DeviceClientOptions, drive } from "../fleet/device_client.ts";
import type { Tick } from "../fleet/player.ts";
import type { CheckLine } from "./check_line.ts";
import { type HeardAlert, Observer } from "./observer.ts";
import { Pipeline, type PipelineOptions } from "../servers/pipeline.ts";
import { datedCatalogue, rightsChecks } from "./rights.ts";
import { Terminal } from "./terminal.ts";
import { type TitleTotals, Truth } from "../fleet/truth.ts";
import {
  type AlertSeen,
  type ExpectedLife,
  parseStatement,
  renderVerdict,
  type RoyaltyAccounting,
  type Verdict,
  verdictOf,
} from "./verdict.ts";
import type { AlertExpectation } from "../recordings/alert_expectation.ts";
import { waitFor } from "../testing/wait_for.ts";
import { Workspace } from "../servers/workspace.ts";

const DAY_MS = 86_400_000;
/** The default of the service. */
const CLOSE_GRACE_MS = 3_600_000;
/** Maximum time until every reader has caught up, ms. */
const SETTLE_DEADLINE_MS = 120_000;
/** Who closes days and loads catalogues in a run. */
const BY_SIMULATION = ["--by", "the simulation"];
/** How often a close is tried, and the time between two attempts, ms. */
const CLOSE_ATTEMPTS = 20;
const CLOSE_AGAIN_MS = 2_000;
/** Maximum time from the start of an incident to its alert, ms; the hard limit of the design. */
const ALERT_LIMIT_MS = 30_000;

/** An action on the running pipeline. */
export interface Fault {
  /** ms since the start of the run. */
  readonly atMs: number;
  readonly what: string;
  readonly act?: (pipeline: Pipeline) => Promise<void>;
}

/** What to send, which faults to cause, and what to expect. Times are ms since the epoch. */
export interface Scenario {
  readonly pipeline: PipelineOptions;
  readonly duplicateWindowMs: number;
  readonly seed: number;
  /** Called when the pipeline is ready, because event times depend on the start of the run. */
  readonly begin: (startEpochMs: number) => {
    readonly ticks: Iterable<Tick>;
    /** Sent after the days so far are closed; they are in the statement of the next day. */
    readonly late?: Iterable<Tick> | undefined;
    /** Titles whose rights are loaded before the first close; the first changes hands at midnight. */
    readonly titles?: readonly string[];
    readonly expectations: readonly AlertExpectation[];
    /** Incidents that are judged from the open to the end. */
    readonly lives?: readonly ExpectedLife[];
    /** The earliest event time; statements are exported from its day to today's. */
    readonly firstEventMs: number;
    /** Expected ms per title, computed independently of the heartbeats. */
    readonly recordedMs?: ReadonlyMap<string, number>;
  };
  /** How devices send, besides the defaults of the client. */
  readonly devices?: Pick<DeviceClientOptions, "concurrency" | "timeoutMs">;
  readonly faults: readonly Fault[];
  /** When a day is closed during the run, each the one after, ms since its start. */
  readonly closesAtMs?: readonly number[];
  /** What else the run waits for once every consumer has finished. */
  readonly isSettled?: (heard: readonly HeardAlert[]) => boolean | Promise<boolean>;
  /** Lines of the verdict of its own, given what on-call heard. */
  readonly checks?: (heard: readonly HeardAlert[]) => CheckLine[] | Promise<CheckLine[]>;
}

/** Where the result is written. */
export interface ScenarioOutput {
  /** File for the full report as JSON. */
  readonly report: string | undefined;
  /** Whether standard output gets the verdict as JSON, and standard error the view. */
  readonly json: boolean;
}

/** The options of every scenario: its seed, and where its result is written. */
export const SCENARIO_OPTIONS = {
  seed: {
    type: "string",
    value: "N",
    about: "the same seed sends the same heartbeats",
    parser: integer(0),
    default: "1",
  },
  report: {
    type: "string",
    value: "FILE",
    about: "file for the full report as JSON",
    parser: filePath(),
  },
  json: {
    type: "boolean",
    about: "print the verdict as JSON, and the view on standard error",
  },
} as const satisfies Options;

/** Runs a scenario to its end: 0 when every line of the verdict holds, else 1. */
export async function runScenario(
  scenario: Scenario,
  { report, json }: ScenarioOutput,
  io: Io,
): Promise<number> {
  const abort = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, () => abort.abort(new Stop("stopped by a signal")));
  }
  const terminal = new Terminal(Date.now(), json ? io.err : io.out);
  const { statements, verdict } = await play(scenario, report, terminal, abort.signal);
  const { seed } = scenario;
  if (json) io.out.write(toJson({ seed, ...verdict }));
  else io.out.line(`\n${[...statements, renderVerdict(verdict), `seed ${seed}`].join("\n\n")}`);
  return verdict.ok ? 0 : 1;
}

/** The result of a run. */
interface EventOutcome {
  /** The beginning of each statement. */
  readonly statements: readonly string[];
  readonly verdict: Verdict;
}

async function play(
  scenario: Scenario,
  report: string | undefined,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<EventOutcome> {
  const progress = (step: string) => terminal.note(Date.now(), step);
  await using workspace = await Workspace.temporary();
  await using pipeline = await Pipeline.start(workspace, { ...scenario.pipeline, progress });
  signal.throwIfAborted();
  using _notes = noteEnds(pipeline, progress);
  const observer = await Observer.start(pipeline);
  const run = new Run(scenario, pipeline, observer, terminal, signal);
  await run.send();
  await run.settle();
  await run.close();
  await run.correct();
  return await run.judge(report);
}

// The services wait for a server without limit, so nothing else would say why the run waits.
function noteEnds({ nats, postgres }: Pipeline, note: (what: string) => void): Disposable {
  let isOver = false;
  for (const [name, server] of Object.entries({ "nats-server": nats, "Postgres": postgres })) {
    void server.ended().then((code) => {
      if (!isOver) note(`${name} ended with status ${code}; the run cannot succeed any more`);
    });
  }
  return { [Symbol.dispose]: () => void (isOver = true) };
}

/** A run in progress. */
class Run {
  readonly #truth: Truth;
  readonly #startEpochMs = Date.now();
  readonly #plan: ReturnType<Scenario["begin"]>;
  readonly #client: DeviceClient;
  /** Truth per title when the days were closed. */
  #closedTruth: ReadonlyMap<string, TitleTotals> = new Map();
  readonly #closedDays: string[] = [];
  /** The day closed after the late events. */
  #nextDay: string | undefined;
  #rights: readonly CheckLine[] = [];

  constructor(
    readonly scenario: Scenario,
    readonly pipeline: Pipeline,
    readonly observer: Observer,
    readonly terminal: Terminal,
    readonly signal: AbortSignal,
  ) {
    this.#truth = new Truth(scenario.duplicateWindowMs);
    this.#plan = scenario.begin(this.#startEpochMs);
    this.#client = new DeviceClient({
      url: pipeline.edgeUrl,
      key: pipeline.fleetKey,
      seed: scenario.seed,
      ...scenario.devices,
      record: (...outcome) => this.#truth.record(...outcome),
    });
  }

  /** Sends the timeline, causes the faults and updates the view. */
  async send(): Promise<void> {
    const { signal } = this;
    const finished = new AbortController();
    const watching = this.#watch(finished.signal);
    const faults = Promise.all([this.#faults(), this.#closeInBetween()]);
    try {
      this.#note("sending heartbeats");
      await drive(this.#client, this.#plan.ticks, { startAtMs: performance.now(), signal });
      signal.throwIfAborted();
      await faults;
    } finally {
      finished.abort();
      await watching;
    }
    const { requests, refused, refusals } = this.#client.report;
    this.#note(`sent ${this.#truth.report().sent} events in ${requests} requests`);
    if (refused > 0) this.#note(`the edge refused ${refused} for good: ${refusals.join("; ")}`);
  }

  /** Waits until every reader has caught up. */
  async settle(): Promise<void> {
    this.#note("waiting for every consumer to finish");
    await waitFor("every consumer to finish", async () => {
      this.signal.throwIfAborted();
      const snapshot = await this.observer.snapshot();
      this.terminal.show(snapshot);
      const { live, royalty, triage } = snapshot.lag;
      const { isSettled = () => true } = this.scenario;
      return live + royalty + triage === 0 && await isSettled(this.observer.alerts);
    }, { timeoutMs: SETTLE_DEADLINE_MS });
  }

  /** Closes the days so far, then sends late events and closes the day that recognises them. */
  async close(): Promise<void> {
    await this.#loadCatalogue();
    this.#closedTruth = this.#truth.report().titles;
    for (const day of daysBetween(Date.parse(this.#nextOpenDay()), Date.now())) {
      await this.#closeDay(day);
    }
    const { late } = this.#plan;
    if (!late) return;
    const before = this.#truth.report().sent;
    await drive(this.#client, late, { startAtMs: performance.now(), signal: this.signal });
    this.#note(`sent ${this.#truth.report().sent - before} events that are late for a closed day`);
    await this.settle();
    this.#nextDay = await this.#closeDay(this.#nextOpenDay());
  }

  /** Checks who is paid, and reissues a day. */
  async correct(): Promise<void> {
    const [titleId] = this.#plan.titles ?? [];
    if (titleId === undefined) return;
    const right = { titleId, lastDay: dayOf(this.#startEpochMs), days: this.#closedDays };
    this.#rights = await rightsChecks(this.pipeline, right);
    this.#note("a correction of the catalogue is reissued");
  }

  /** Reads the statements as finance does and compares them; `report` is the file of the report. */
  async judge(report: string | undefined): Promise<EventOutcome> {
    const { pipeline, observer, scenario } = this;
    const truth = this.#truth.report();
    const days = this.#closedDays;
    const statements = await Promise.all(days.map((day) => this.#statement(day)));
    const next = this.#nextDay === undefined ? undefined : statements.at(-1);
    const closed = next === undefined ? statements : statements.slice(0, -1);
    const input = {
      truth,
      statement: totalsOf(statements),
      closing: {
        before: this.#closedTruth,
        after: truth.titles,
        closed,
        next,
        chain: await pipeline.cli("royalty", ["verify-chain"]),
        audits: await Promise.all(days.map((day) => this.#audit(day))),
      },
      accounting: await accountingOf(pipeline),
      triageEntries: await entriesOf(pipeline),
      expectations: this.#plan.expectations,
      lives: this.#plan.lives,
      recordedMs: this.#plan.recordedMs,
      alerts: alertsSeen(observer),
      alertLimitMs: ALERT_LIMIT_MS,
      more: [...this.#rights, ...await scenario.checks?.(observer.alerts) ?? []],
    };
    if (observer.unreadable.length > 0) {
      throw new Stop(`alerts that do not follow the schema: ${observer.unreadable.join("; ")}`);
    }
    const verdict = verdictOf(input);
    if (report !== undefined) {
      const { alerts } = observer;
      const all = { seed: scenario.seed, startEpochMs: this.#startEpochMs, ...input, alerts };
      await Deno.writeTextFile(report, toJson({ ...all, verdict }));
    }
    const beginnings = statements.map((csv, i) => statementText(`statement of ${days[i]}`, csv));
    return { statements: beginnings, verdict };
  }

  async #loadCatalogue(): Promise<void> {
    const { titles } = this.#plan;
    if (titles === undefined) return;
    const catalogue = datedCatalogue(titles, dayOf(this.#startEpochMs));
    const file = `${this.pipeline.workspace.folder}/catalogue.csv`;
    await Deno.writeTextFile(file, catalogue);
    this.#note(
      firstLine(await this.pipeline.cli("royalty", ["catalogue", file, ...BY_SIMULATION])),
    );
  }

  // An audit with findings exits with 1; its output is part of the verdict.
  async #audit(day: string): Promise<string> {
    return await this.pipeline.cli("royalty", ["audit", "--day", day]).catch(messageOf);
  }

  async #statement(day: string): Promise<string> {
    return await this.pipeline.cli("royalty", ["export", "--day", day]);
  }

  // The run does not wait for the end of the day; it closes as of a later time.
  async #closeDay(day: string): Promise<string> {
    const asOf = new Date(Date.parse(day) + DAY_MS + CLOSE_GRACE_MS).toISOString();
    for (let attempt = 1;; attempt++) {
      try {
        const close = ["close", "--day", day, "--as-of", asOf];
        const why = ["--reason", "the run does not wait for the end of the day"];
        const said = await this.pipeline.cli("royalty", [...close, ...BY_SIMULATION, ...why]);
        this.#closedDays.push(day);
        this.#note(`statement: ${firstLine(said)}`);
        return day;
      } catch (error) {
        // Refused while royalty is behind, be it by a canary, or while a server is away.
        if (attempt === CLOSE_ATTEMPTS || this.signal.aborted) throw error;
        this.#note(`not closed yet: ${messageOf(error).trim().split("\n").at(-1)}`);
        await pause(CLOSE_AGAIN_MS, this.signal);
      }
    }
  }

  #nextOpenDay(): string {
    const last = this.#closedDays.at(-1);
    return dayOf(last === undefined ? this.#plan.firstEventMs : Date.parse(last) + DAY_MS);
  }

  async #closeInBetween(): Promise<void> {
    for (const atMs of this.scenario.closesAtMs ?? []) {
      await this.#until(atMs);
      const day = this.#nextOpenDay();
      if (!this.signal.aborted) await this.#closeDay(day);
    }
  }

  async #faults(): Promise<void> {
    for (const { atMs, what, act } of this.scenario.faults) {
      await this.#until(atMs);
      if (this.signal.aborted) return;
      this.#note(what);
      await act?.(this.pipeline);
    }
  }

  async #until(atMs: number): Promise<void> {
    await pause(Math.max(0, this.#startEpochMs + atMs - Date.now()), this.signal);
  }

  async #watch(finished: AbortSignal): Promise<void> {
    let heard = 0;
    while (!finished.aborted) {
      for (const { alert, subject } of this.observer.alerts.slice(heard)) {
        const call = isPage(alert) ? "on-call is paged" : "on-call hears";
        this.#note(`${call}, ${subject}: ${alert.status}, ${alert.summary}`);
      }
      heard = this.observer.alerts.length;
      // A server may be down on purpose, which must not end the run.
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
    events: z.number(),
    counted: z.number(),
    duplicates: z.number(),
    quarantined: z.number(),
    canaries: z.number(),
    gaps: z.number(),
  })),
});

async function accountingOf(pipeline: Pipeline): Promise<RoyaltyAccounting> {
  const status = JSON.parse(await pipeline.cli("royalty", ["status", "--json"]));
  const { streams } = statusSchema.parse(status);
  const sum = (of: (stream: typeof streams[number]) => number) =>
    streams.reduce((total, stream) => total + of(stream), 0);
  return {
    events: sum((stream) => stream.events),
    counted: sum((stream) => stream.counted),
    duplicates: sum((stream) => stream.duplicates),
    quarantined: sum((stream) => stream.quarantined),
    canaries: sum((stream) => stream.canaries),
    gaps: sum((stream) => stream.gaps),
  };
}

async function entriesOf(pipeline: Pipeline): Promise<number> {
  const json = await pipeline.cli("triage", ["list", "--limit", "10000", "--json"]);
  const groups = z.array(z.object({ entries: z.number() })).parse(JSON.parse(json));
  return groups.reduce((sum, { entries }) => sum + entries, 0);
}

// The messages of all incidents of live.
function alertsSeen(observer: Observer): AlertSeen[] {
  return observer.alerts.flatMap(({ alert, heardAtMs }) =>
    alert.kind === "incident"
      ? [{
        incidentId: alert.incident_id,
        cell: alert.cell,
        status: alert.status,
        page: isPage(alert),
        named: alert.dimensions.map(({ cell }) => cell),
        heardAtMs,
      }]
      : []
  );
}

/** The UTC day of an instant, as `YYYY-MM-DD`. */
function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** The UTC days from that of `fromMs` to that of `toMs`, as `YYYY-MM-DD`. */
function daysBetween(fromMs: number, toMs: number): string[] {
  const days: string[] = [];
  for (let ms = fromMs - fromMs % DAY_MS; ms <= toMs; ms += DAY_MS) {
    days.push(dayOf(ms));
  }
  return days;
}

/** Totals per title over several statements. */
function totalsOf(statements: readonly string[]): Map<string, TitleTotals> {
  const totals = new Map<string, TitleTotals>();
  for (const [titleId, { ms, events }] of statements.flatMap((csv) => [...parseStatement(csv)])) {
    const sum = totals.get(titleId) ?? { ms: 0, events: 0 };
    totals.set(titleId, { ms: sum.ms + ms, events: sum.events + events });
  }
  return totals;
}

function firstLine(text: string): string {
  const [line = ""] = text.split("\n", 1);
  return line;
}
