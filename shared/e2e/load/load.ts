/**
 * `deno task load`: the whole pipeline as real processes under a load over real HTTP, with the
 * shape of a constant rate, of a premiere or of a day. Requests are due at times that do not wait
 * for answers, and their latency counts from then.
 *
 * @module
 */
import { Observer } from "../../dev/demo/observer.ts";
import { renderChecks } from "../../dev/demo/verdict.ts";
import { Pipeline } from "../../dev/servers/pipeline.ts";
import { Workspace } from "../../dev/servers/workspace.ts";
import { waitFor } from "../../dev/testing/wait_for.ts";
import { command } from "../../process/cli/command.ts";
import { toJson } from "../../process/cli/json_output.ts";
import { filePath, integer, numberWithin, oneOf } from "../../process/cli/parsers.ts";
import { main } from "../../process/cli/run.ts";
import { pause } from "../../process/retry.ts";
import { StallingCohorts } from "../stalling_cohorts.ts";
import { LARGEST_REGION } from "./catalogue.ts";
import { Generators } from "./generators.ts";
import { loadPlotSvg } from "./load_plot.ts";
import {
  courseOfLoad,
  figuresOfLoad,
  generatorCores,
  loadPanels,
  type LoadRun,
  type LoadShape,
  loadText,
  memoryOf,
} from "./load_report.ts";
import { loadChecks, type LoadVerdictInput, statementCells } from "./load_verdict.ts";
import { outcomeOf } from "./outcome.ts";
import { PROFILES } from "./profile.ts";
import { Sampler } from "./sampler.ts";

const MINUTE_SECONDS = 60;
const DAY_MS = 86_400_000;
/** Two billion a day. */
const DEFAULT_RATE = "23148";
/** Live knows the usual share of stalls before the first incident. */
const INCIDENTS_AFTER_MS = 3_000;
const ALERT_WAIT_MS = 30_000;
/** Maximum time after the load until every event is counted. */
const DRAIN_MS = 300_000;
/** Shorter runs do not judge memory: the duplicate windows of two minutes are hardly full. */
const MEMORY_FROM_SECONDS = 300;
const PER_POST = ["1", "20", "100"] as const;
/** Of single posts and small ones there are more at a time, as from devices of their own. */
const CONNECTIONS: Readonly<Record<typeof PER_POST[number], number>> = {
  1: 2_000,
  20: 256,
  100: 64,
};

/** Limits of the edge that devices never meet which have addresses and fleets of their own. */
const ONE_MACHINE = {
  TWOFOLD_HTTP_MAX_PER_ADDRESS: "0",
  TWOFOLD_FLEET_EVENTS_PER_SECOND: "0",
  TWOFOLD_FLEET_BYTES_PER_SECOND: "0",
};

/** `deno task load`. */
export const loadTask = command({
  name: "load",
  summary: "the whole pipeline under a load of a given shape: latencies, lags, CPU, memory, books",
  details: "Starts servers and services of its own. Each request is due at a time of its own and " +
    "its latency counts from then, so that a slow answer delays no other measurement. The " +
    "generator is a process of its own and says how late it was by itself. All the time one small " +
    "cohort after the other stalls, and the time to its alert is measured. Exits 1 when a request " +
    "is lost, the rate is not held, the statements differ from what was accepted, in a title and " +
    "region by an event or a millisecond, alerts take over 5 s at p99, or, in a run of at least 5 " +
    "minutes, the memory of a process grows.",
  options: {
    profile: {
      type: "string",
      value: "NAME",
      about: `${PROFILES.join(", ")}: a premiere steps from a fifth of the rate to the rate and ` +
        "back, diurnal is a day from midnight to midnight",
      parser: oneOf(...PROFILES),
      default: "constant",
    },
    rate: {
      type: "string",
      value: "N",
      about: "heartbeats a second, at the peak",
      parser: integer(10, 1_000_000),
      default: DEFAULT_RATE,
    },
    minutes: {
      type: "string",
      value: "M",
      about: "length of the load, 0.1 to 1440",
      parser: numberWithin(0.1, 1440),
      default: "1",
    },
    perPost: {
      type: "string",
      value: "N",
      about: `heartbeats a post: ${PER_POST.join(", ")}`,
      parser: oneOf(...PER_POST),
      default: "100",
    },
    connections: {
      type: "string",
      value: "N",
      about: "connections to the edge",
      parser: integer(1, 7_500),
      absent: `${CONNECTIONS[100]}, ${CONNECTIONS[20]} or ${CONNECTIONS[1]} by heartbeats a post`,
    },
    generators: {
      type: "string",
      value: "N",
      about: "processes that share the load",
      parser: integer(1, 16),
      default: "1",
    },
    titles: {
      type: "string",
      value: "N",
      about: "titles of the catalogue, by Zipf's law",
      parser: integer(1, 1_000_000),
      default: "20000",
    },
    regions: {
      type: "string",
      value: "N",
      about: "regions, by Zipf's law",
      parser: integer(1, 500),
      default: "50",
    },
    report: {
      type: "string",
      value: "FILE",
      about: "file for the result and its course over time as JSON",
      parser: filePath(),
    },
    plot: {
      type: "string",
      value: "FILE",
      about: "file for a plot of the course over time, SVG",
      parser: filePath(),
    },
    json: { type: "boolean", about: "print the result as JSON" },
  },
  examples: [
    { args: ["--report", "load.json", "--plot", "load.svg"] },
    { args: ["--rate", "3000", "--per-post", "1"], about: "single posts" },
    { args: ["--profile", "premiere", "--rate", "20000", "--minutes", "2"] },
  ],
  async run({ report, plot, json, minutes, perPost, connections, ...rest }, io) {
    const shape: LoadShape = {
      ...rest,
      seconds: minutes * MINUTE_SECONDS,
      perPost: Number(perPost),
      connections: connections ?? CONNECTIONS[perPost],
    };
    const { run, verdict } = await load(shape, (step) => io.err.line(step));
    const checks = loadChecks(verdict);
    const ok = checks.every((each) => each.ok);
    const { memory } = verdict;
    const result = { ok, shape, figures: figuresOfLoad(run), memory: mapOf(memory), checks };
    if (report !== undefined) {
      await Deno.writeTextFile(report, toJson({ ...result, course: courseOfLoad(run) }));
    }
    if (plot !== undefined) await Deno.writeTextFile(plot, plotOf(run, ok));
    if (json) io.out.write(toJson(result));
    else io.out.line([loadText(run), renderChecks(checks)].join("\n\n"));
    return ok ? 0 : 1;
  },
});

/** Runs a load and reads everything that its verdict needs. */
async function load(
  shape: LoadShape,
  progress: (step: string) => void,
): Promise<{ readonly run: LoadRun; readonly verdict: LoadVerdictInput }> {
  await using workspace = await Workspace.temporary();
  const services = { ingest: ONE_MACHINE };
  await using pipeline = await Pipeline.start(workspace, { durable: true, services, progress });
  const observer = await Observer.start(pipeline);
  progress("encoding the heartbeats");
  const target = { url: pipeline.edgeUrl, key: pipeline.fleetKey, seed: 1 };
  await using generators = await Generators.start(
    workspace,
    { ...target, ...shape },
    shape.generators,
  );
  const pids = { ...pidsOf(pipeline), ...generators.pids() };
  await using sampler = new Sampler(pipeline, observer, pids);
  const incidents = new StallingCohorts(pipeline, LARGEST_REGION);
  const startAtMs = await generators.begin();
  progress(`sending ${shape.profile}, up to ${shape.rate}/s, for ${shape.seconds} s`);
  sampler.begin(startAtMs);
  const over = new AbortController();
  const [results] = await Promise.all([
    generators.results().finally(() => over.abort()),
    stallUntil(incidents, over.signal),
  ]);
  const outcome = outcomeOf(results);
  const truth = [...outcome.cells, ...incidents.credit()];
  progress("waiting until everything is counted");
  const drainSeconds = await drained(observer, truth.reduce((sum, { events }) => sum + events, 0));
  await sampler.end();
  await waitFor("an alert of every incident", () => {
    return incidents.heard(observer).every(({ alertAfterMs }) => alertAfterMs !== undefined);
  }, { timeoutMs: ALERT_WAIT_MS }).catch(() => "the verdict says which are missing");
  const { samples } = sampler;
  const heard = incidents.heard(observer);
  const run: LoadRun = { shape, startAtMs, outcome, samples, incidents: heard, drainSeconds };
  return {
    run,
    verdict: {
      outcome,
      generatorCores: generatorCores(run),
      truth,
      statement: await statementSince(pipeline, startAtMs),
      unexplained: await unexplainedIn(pipeline),
      incidents: heard,
      memory: memoryOf(run),
      judgesMemory: shape.seconds >= MEMORY_FROM_SECONDS,
    },
  };
}

async function stallUntil(incidents: StallingCohorts, signal: AbortSignal): Promise<void> {
  await pause(INCIDENTS_AFTER_MS, signal);
  await incidents.run(signal);
}

function pidsOf({ services, nats, postgres }: Pipeline): Record<string, number> {
  return {
    ...Object.fromEntries(Object.values(services).map(({ name, pid }) => [name, pid])),
    "nats-server": nats.pid,
    postgres: postgres.pid,
  };
}

/** Seconds until every reader has caught up and `events` are counted. */
async function drained(observer: Observer, events: number): Promise<number> {
  const startMs = performance.now();
  await waitFor("every event to be counted", async () => {
    const { lag, counted } = await observer.snapshot();
    return lag.live + lag.royalty + lag.triage === 0 && counted >= events;
  }, { timeoutMs: DRAIN_MS });
  return (performance.now() - startMs) / 1_000;
}

// Days are open; their lines so far are those that a close would issue.
async function statementSince(pipeline: Pipeline, sinceMs: number) {
  const days = [];
  for (let ms = sinceMs - sinceMs % DAY_MS; ms <= Date.now(); ms += DAY_MS) {
    const day = new Date(ms).toISOString().slice(0, "2026-11-23".length);
    days.push(statementCells(await pipeline.cli("royalty", ["export", "--day", day])));
  }
  return days.flat();
}

async function unexplainedIn(pipeline: Pipeline): Promise<number> {
  const { streams } = JSON.parse(await pipeline.cli("royalty", ["status", "--json"]));
  return streams.reduce(
    (sum: number, each: { duplicates: number; quarantined: number; gaps: number }) =>
      sum + each.duplicates + each.quarantined + each.gaps,
    0,
  );
}

function plotOf(run: LoadRun, ok: boolean): string {
  const { profile, rate, seconds, perPost, connections, titles, regions } = run.shape;
  return loadPlotSvg({
    title: `${profile} load, up to ${rate.toLocaleString("en-US")} heartbeats a second`,
    subtitle: `${perPost} a post over ${connections} connections, ` +
      `${titles.toLocaleString("en-US")} titles × ${regions} regions; verdict: ${
        ok ? "ok" : "FAIL"
      }`,
    seconds: Math.max(seconds, run.samples.at(-1)?.atSeconds ?? 0),
    panels: loadPanels(run),
  });
}

function mapOf<T>(record: Readonly<Record<string, T>>): Map<string, T> {
  return new Map(Object.entries(record));
}

if (import.meta.main) await main(loadTask);
