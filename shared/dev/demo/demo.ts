/**
 * `deno task demo`: sends the heartbeats of a seeded fleet through the whole pipeline for a minute,
 * with an incident, a broken build and a killed process, and gives a verdict.
 *
 * @module
 */
import { command } from "../../process/cli/command.ts";
import { numberWithin } from "../../process/cli/parsers.ts";
import { main } from "../../process/cli/run.ts";
import { DEFAULT_SIMULATION, Simulator } from "../fleet/simulator.ts";
import type { Pipeline } from "../servers/pipeline.ts";
import { type Fault, runScenario, type Scenario, SCENARIO_OPTIONS } from "./scenario.ts";

/** Short, so that a run of a minute has retries after the duplicate window. */
const DUPLICATE_WINDOW_MS = 5_000;
const INCIDENT_AT = 0.4;
const STALL_RATIO = 0.3;
const KILL_AT = 0.6;
/** Heartbeats of the first seconds of the run that arrive after the close of their day. */
const LATE_MS = 4_000;
const LATE_SESSIONS = 2_000;
const STUDIOS = ["Aurora", "Blue Door", '"Harbour, Lights & Sons"'];

/** `deno task demo`. */
export const demoTask = command({
  name: "demo",
  summary: "the whole pipeline for a minute, with faults, and a verdict",
  details: "Starts servers and services of its own on free ports and removes them at the end. A " +
    "seeded fleet sends heartbeats through an incident, a broken build and the SIGKILL of a " +
    "process; then statements, accounts and alerts are compared with what was sent. Exits 1 when " +
    "a check of the verdict fails.",
  options: {
    seconds: {
      type: "string",
      value: "N",
      about: "length of the timeline, 30 to 3600",
      parser: numberWithin(30, 3600),
      default: "60",
    },
    ...SCENARIO_OPTIONS,
  },
  examples: [
    { args: [] },
    { args: ["--seconds", "30", "--seed", "7", "--report", "run.json"] },
    { args: ["--json"], about: "the verdict for a program" },
  ],
  async run({ seconds, seed, report, json }, io) {
    return await runScenario(demo(seconds, seed), { report, json }, io);
  },
});

if (import.meta.main) await main(demoTask);

function demo(seconds: number, seed: number): Scenario {
  const durationMs = seconds * 1000;
  const incident = { atMs: durationMs * INCIDENT_AT, stallRatio: STALL_RATIO };
  const uplink = {
    ...DEFAULT_SIMULATION.uplink,
    duplicateWindowMs: DUPLICATE_WINDOW_MS,
    lateMaxMs: durationMs / 2,
  };
  return {
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
        seed: seed + 1,
        startEpochMs,
        durationMs: LATE_MS,
        sessions: LATE_SESSIONS,
        brokenShare: 0,
        conflicts: 0,
        uplink: { ...uplink, lateMaxMs: LATE_MS },
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

// One title is not in the catalogue: its minutes are counted, without a studio.
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
