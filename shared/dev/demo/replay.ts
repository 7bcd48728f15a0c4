/**
 * `deno task replay`: sends recordings of playback through the whole pipeline, and gives the
 * verdict with the recordings as ground truth.
 *
 * @module
 */
import { command } from "../../process/cli/command.ts";
import type { Io } from "../../process/cli/io.ts";
import { filePath, integer, numberWithin } from "../../process/cli/parsers.ts";
import { main } from "../../process/cli/run.ts";
import { readRecordings } from "../recordings/folder.ts";
import type { Recordings } from "../recordings/recordings.ts";
import { DEFAULT_REPLAY, Replay, type ReplayOptions } from "../recordings/replay.ts";
import { runScenario, type Scenario, SCENARIO_OPTIONS } from "./scenario.ts";

/** Generated recordings, which every clone has. */
const DEFAULT_FOLDER = "shared/dev/recordings/samples";

/** One more viewer of each trace, whose heartbeats arrive after the close of their day. */
const LATE = { viewers: 1, sessions: 0, spreadMs: 0, acceleration: 600 } as const;

/** `deno task replay`. */
export const replayTask = command({
  name: "replay",
  summary: "recordings of playback through the pipeline, and a verdict",
  details: "Starts servers and services of its own on free ports and removes them at the end. " +
    "Statements, accounts and alerts are compared with the recordings; exits 1 when a check of " +
    "the verdict fails.",
  positionals: [{
    name: "folder",
    about: "traces/*.ndjson and sessions.csv.gz",
    parser: filePath(),
    default: DEFAULT_FOLDER,
  }],
  options: {
    viewers: {
      type: "string",
      value: "N",
      about: "parallel viewers of each trace",
      parser: integer(0),
      default: String(DEFAULT_REPLAY.viewers),
    },
    sessions: {
      type: "string",
      value: "N",
      about: "counted sessions besides the traces",
      parser: integer(0),
      default: String(DEFAULT_REPLAY.sessions),
    },
    spread: {
      type: "string",
      value: "SECONDS",
      about: "maximum start of a viewer, seconds of recording time",
      parser: numberWithin(0, 1_000_000),
      default: String(DEFAULT_REPLAY.spreadMs / 1000),
    },
    speed: {
      type: "string",
      value: "N",
      about: "speed, as a multiple of real time",
      parser: numberWithin(1, 1_000_000),
      default: String(DEFAULT_REPLAY.acceleration),
    },
    ...SCENARIO_OPTIONS,
  },
  examples: [
    { args: [] },
    { args: ["recordings", "--viewers", "10", "--speed", "20", "--report", "run.json"] },
  ],
  async run({ folder, viewers, sessions, spread, speed, seed, report, json }, io) {
    const { recordings, problems } = await readRecordings(folder);
    for (const problem of problems) io.err.line(`left out: ${problem}`);
    const options = {
      ...DEFAULT_REPLAY,
      viewers,
      sessions,
      seed,
      spreadMs: Math.floor(spread * 1000),
      acceleration: speed,
    };
    tellPlan(recordings, options, json ? io.err : io.out);
    return await runScenario(replay(recordings, options), { report, json }, io);
  },
});

if (import.meta.main) await main(replayTask);

/** The options of a replay that do not depend on its start. */
type ReplayPlan = Omit<ReplayOptions, "startEpochMs">;

function tellPlan(recordings: Recordings, plan: ReplayPlan, output: Io["out"]): void {
  const { durationMs } = new Replay(recordings, { ...plan, startEpochMs: 0 });
  const { traces, sessions } = recordings;
  const drawn = Math.min(plan.sessions, sessions.length);
  output.line(
    `${traces.length} traces × ${plan.viewers} viewers and ${drawn} of ${sessions.length} ` +
      `sessions, ${plan.acceleration} times faster: ` +
      `${Math.ceil(durationMs / 1000)} s`,
  );
}

function replay(recordings: Recordings, options: ReplayPlan): Scenario {
  return {
    seed: options.seed,
    duplicateWindowMs: options.uplink.duplicateWindowMs,
    pipeline: {
      provision: { TWOFOLD_DUPLICATE_WINDOW_MS: String(options.uplink.duplicateWindowMs) },
    },
    begin: (startEpochMs) => {
      const run = new Replay(recordings, { ...options, startEpochMs });
      const late = new Replay({ ...recordings, sessions: [] }, {
        ...options,
        ...LATE,
        seed: options.seed + 1,
        startEpochMs,
      });
      const recordingMs = run.durationMs * options.acceleration;
      return {
        ticks: run.ticks(),
        late: recordings.traces.length > 0 ? late.ticks() : undefined,
        firstEventMs: startEpochMs - recordingMs,
        recordedMs: sumOf(run.recordedMs, late.recordedMs),
        titles: [...run.recordedMs.keys()],
        expectations: run.expectations.map((each) => inEpoch(each, startEpochMs)),
      };
    },
    faults: [],
  };
}

function sumOf(...recorded: readonly ReadonlyMap<string, number>[]): Map<string, number> {
  const sum = new Map<string, number>();
  for (const [titleId, ms] of recorded.flatMap((each) => [...each])) {
    sum.set(titleId, (sum.get(titleId) ?? 0) + ms);
  }
  return sum;
}

function inEpoch<T extends { readonly sinceMs?: number; readonly evidentMs?: number }>(
  expectation: T,
  startEpochMs: number,
): T {
  const { sinceMs, evidentMs } = expectation;
  return {
    ...expectation,
    ...(sinceMs === undefined ? {} : { sinceMs: startEpochMs + sinceMs }),
    ...(evidentMs === undefined ? {} : { evidentMs: startEpochMs + evidentMs }),
  };
}
