/**
 * `deno task demo`: sends the heartbeats of a seeded fleet through the whole pipeline for a minute
 * and a half, with an incident, a broken build and killed processes, and gives a verdict. Pages are
 * delivered to a webhook of its own.
 *
 * @module
 */
import { command } from "../../process/cli/command.ts";
import { numberWithin } from "../../process/cli/parsers.ts";
import { main } from "../../process/cli/run.ts";
import { DEFAULT_SIMULATION, type IncidentOptions, Simulator } from "../fleet/simulator.ts";
import type { Pipeline } from "../servers/pipeline.ts";
import { type Fault, runScenario, type Scenario, SCENARIO_OPTIONS } from "./scenario.ts";
import { PageWebhook } from "./page_webhook.ts";
import { Takeover } from "./takeover.ts";
import type { ExpectedLife } from "./verdict.ts";

/** Short, so that a run has many retries after the duplicate window. */
const DUPLICATE_WINDOW_MS = 5_000;
const KILL_AT = 0.6;
/** Between the page of the incident and its end. */
const KILL_LIVE_AT_MS = 19_000;
const LIVE_AWAY_MS = 15_000;
/** Maximum delay of a heartbeat in the network. */
const LATE_MAX_MS = 30_000;

/** The CDN and the region in which the incident opens, and the region that folds into it. */
const CDN = "cdn-b";
const FIRST_REGION = "us-east";
const SECOND_REGION = "us-west";
/**
 * Live opens it 2 to 3 s after its begin. Half of the viewers begin to stall in the first region,
 * then half in the second, then all: viewers double. Live needs about 42 s after the end to be sure
 * that they have recovered.
 */
const INCIDENT: IncidentOptions = {
  cdn: CDN,
  stages: [
    { atMs: 15_000, region: FIRST_REGION, share: 0.5 },
    { atMs: 21_000, region: SECOND_REGION, share: 0.5 },
    { atMs: 29_000, region: FIRST_REGION, share: 1 },
    { atMs: 29_000, region: SECOND_REGION, share: 1 },
  ],
  untilMs: 35_000,
  stallRatio: 0.6,
};
/** Until the incident is resolved, with a reserve for a busy machine. */
const MIN_SECONDS = 90;
/** Heartbeats of the first seconds of the run that arrive after the close of their day. */
const LATE_MS = 4_000;
const LATE_SESSIONS = 2_000;

/** `deno task demo`. */
export const demoTask = command({
  name: "demo",
  summary: "the whole pipeline for a minute and a half, with faults, and a verdict",
  details: "Starts servers and services of its own on free ports and removes them at the end. A " +
    "seeded fleet sends heartbeats through an incident of a CDN in two regions, a broken build " +
    "and the SIGKILL of royalty and of the live process that leads; then statements, accounts, " +
    "alerts and what a webhook received are compared with what was sent. Exits 1 when a check of the verdict fails.",
  options: {
    seconds: {
      type: "string",
      value: "N",
      about: `length of the timeline, ${MIN_SECONDS} to 3600`,
      parser: numberWithin(MIN_SECONDS, 3600),
      default: String(MIN_SECONDS),
    },
    ...SCENARIO_OPTIONS,
  },
  examples: [
    { args: [] },
    { args: ["--seconds", "300", "--seed", "7", "--report", "run.json"] },
    { args: ["--json"], about: "the verdict for a program" },
  ],
  async run({ seconds, seed, report, json }, io) {
    await using webhook = new PageWebhook();
    return await runScenario(demo(seconds, seed, webhook), { report, json }, io);
  },
});

if (import.meta.main) await main(demoTask);

function demo(seconds: number, seed: number, webhook: PageWebhook): Scenario {
  const takeover = new Takeover();
  const durationMs = seconds * 1000;
  const uplink = {
    ...DEFAULT_SIMULATION.uplink,
    duplicateWindowMs: DUPLICATE_WINDOW_MS,
    lateMaxMs: LATE_MAX_MS,
  };
  return {
    seed,
    duplicateWindowMs: DUPLICATE_WINDOW_MS,
    pipeline: {
      hasCanary: true,
      lives: 2,
      receivers: [webhook.host],
      provision: { TWOFOLD_DUPLICATE_WINDOW_MS: String(DUPLICATE_WINDOW_MS) },
      services: {
        pager: webhook.settings,
        triage: { TWOFOLD_TRIAGE_GROWTH_LIMIT: "50", TWOFOLD_TRIAGE_EVALUATE_MS: "1000" },
      },
    },
    begin: (startEpochMs) => {
      const simulator = new Simulator({
        ...DEFAULT_SIMULATION,
        seed,
        startEpochMs,
        durationMs,
        incidents: [INCIDENT],
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
        titles: simulator.titles,
        firstEventMs: startEpochMs,
        expectations: [],
        lives: [lifeOf(INCIDENT, startEpochMs)],
      };
    },
    faults: [
      ...notesOf(INCIDENT),
      ...killLive(takeover),
      ...killRoyalty(durationMs * KILL_AT),
    ].toSorted((a, b) => a.atMs - b.atMs),
    isSettled: (heard) => webhook.hasAllEnds(heard),
    checks: (heard) => [...takeover.checks(), ...webhook.checks(heard)],
  };
}

function lifeOf({ cdn, stages }: IncidentOptions, startEpochMs: number): ExpectedLife {
  const sinceMs = startEpochMs + Math.min(...stages.map(({ atMs }) => atMs));
  return {
    cell: { region: FIRST_REGION, cdn },
    sinceMs,
    folds: { region: SECOND_REGION, cdn },
    statuses: ["open", "update", "resolved"],
  };
}

/** What the simulator does, as lines of the view. */
function notesOf({ cdn, stages, untilMs }: IncidentOptions): Fault[] {
  const stalls = stages.map(({ atMs, region, share }) => ({
    atMs,
    what: `incident: ${share * 100} % of the viewers of ${cdn} in ${region} stall`,
  }));
  return [...stalls, { atMs: untilMs, what: `incident: ${cdn} recovers` }];
}

/** While viewers stall: the other process has to tell the rest of the incident, and its end. */
function killLive(takeover: Takeover): Fault[] {
  return [
    {
      atMs: KILL_LIVE_AT_MS,
      what: "SIGKILL to the live process that leads",
      act: (pipeline) => takeover.kill(pipeline),
    },
    {
      atMs: KILL_LIVE_AT_MS + LIVE_AWAY_MS,
      what: "it starts again",
      act: () => takeover.restart(),
    },
  ];
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
