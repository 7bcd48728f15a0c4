/**
 * `deno task demo`: a seeded fleet through the whole pipeline for a minute, with an incident, a
 * broken build and a killed process, and a verdict.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { messageOf, Stop } from "../../process/errors.ts";
import type { Pipeline } from "../servers/pipeline.ts";
import { type Fault, runScenario, type Scenario, type ScenarioOutput } from "./scenario.ts";
import { DEFAULT_SIMULATION, Simulator } from "../fleet/simulator.ts";

const USAGE = "usage: deno task demo [--seconds N] [--seed N] [--json FILE]";
/** Short, so that a minute holds retries the stream has already forgotten. */
const DUPLICATE_WINDOW_MS = 5_000;
const INCIDENT_AT = 0.4;
const STALL_RATIO = 0.3;
const KILL_AT = 0.6;
/** Heartbeats of the run's first seconds that arrive when their day is closed. */
const LATE_MS = 4_000;
const LATE_SESSIONS = 2_000;
const STUDIOS = ["Aurora", "Blue Door", '"Harbour, Lights & Sons"'];

if (import.meta.main) await runScenario(demo);

function demo(args: readonly string[]): Scenario & ScenarioOutput {
  const { seconds, seed, json } = readArgs(args);
  const durationMs = seconds * 1000;
  const incident = { atMs: durationMs * INCIDENT_AT, stallRatio: STALL_RATIO };
  const uplink = {
    ...DEFAULT_SIMULATION.uplink,
    duplicateWindowMs: DUPLICATE_WINDOW_MS,
    lateMaxMs: durationMs / 2,
  };
  return {
    json,
    seed,
    duplicateWindowMs: DUPLICATE_WINDOW_MS,
    pipeline: {
      provision: { TWOFOLD_DUPLICATE_WINDOW_MS: String(DUPLICATE_WINDOW_MS) },
      services: {
        triage: { TWOFOLD_TRIAGE_GROWTH_LIMIT: "50", TWOFOLD_TRIAGE_EVALUATE_MS: "1000" },
      },
    },
    begin: (startEpochMs) => {
      const simulator = new Simulator({
        ...DEFAULT_SIMULATION,
        seed,
        startEpochMs,
        durationMs,
        incident,
        uplink,
      });
      const late = new Simulator({
        ...DEFAULT_SIMULATION,
        ...{ seed: seed + 1, startEpochMs, durationMs: LATE_MS, sessions: LATE_SESSIONS },
        ...{ brokenShare: 0, conflicts: 0, uplink: { ...uplink, lateMaxMs: LATE_MS } },
      });
      return {
        ticks: simulator.ticks(),
        late: late.ticks(),
        catalogue: catalogueOf(simulator.titles),
        firstEventMs: startEpochMs,
        expectations: [{
          ...simulator.biggest,
          alert: "must",
          sinceMs: startEpochMs + incident.atMs,
        }],
      };
    },
    faults: [
      { atMs: incident.atMs, what: "incident: one title starts to stall in one region" },
      ...killRoyalty(durationMs * KILL_AT),
    ],
  };
}

// One title is in no catalogue: its minutes are counted all the same, for nobody yet.
function catalogueOf(titles: readonly string[]): string {
  const rows = titles.slice(0, -1).map((title, i) => `${title},${STUDIOS[i % STUDIOS.length]}\n`);
  return `title_id,studio\n${rows.join("")}`;
}

function killRoyalty(atMs: number): Fault[] {
  const royalty = (pipeline: Pipeline) => pipeline.services.royalty;
  return [
    {
      atMs,
      what: "SIGKILL to the royalty process",
      act: async (pipeline) => void await royalty(pipeline).stop("SIGKILL"),
    },
    {
      atMs: atMs + 2_000,
      what: "royalty starts again",
      act: (pipeline) => royalty(pipeline).restart(),
    },
  ];
}

function readArgs(args: readonly string[]): { seconds: number; seed: number; json?: string } {
  let values: { seconds?: string; seed?: string; json?: string };
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        seconds: { type: "string" },
        seed: { type: "string" },
        json: { type: "string" },
      },
    }));
  } catch (error) {
    throw new Stop(`${messageOf(error)}\n${USAGE}`, { exitCode: 2 });
  }
  const seconds = Number(values.seconds ?? 60);
  const seed = Number(values.seed ?? 1);
  if (!(seconds >= 30 && seconds <= 3600)) {
    throw new Stop(`--seconds is a number from 30 to 3600\n${USAGE}`, { exitCode: 2 });
  }
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new Stop(`--seed is a whole number\n${USAGE}`, { exitCode: 2 });
  }
  return { seconds, seed, json: values.json };
}
