/**
 * `deno task replay`: recordings of real playback through the whole pipeline, and the same verdict
 * with the recordings as ground truth.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { messageOf, Stop } from "../../process/errors.ts";
import { readRecordings } from "../recordings/folder.ts";
import { DEFAULT_REPLAY, Replay, type ReplayOptions } from "../recordings/replay.ts";
import { runScenario, type Scenario, type ScenarioOutput } from "./scenario.ts";

const DEFAULT_FOLDER = "../shared/data";
const USAGE = `usage: deno task replay [FOLDER] [options]
  FOLDER        traces/*.ndjson and sessions.csv.gz (default ${DEFAULT_FOLDER})
  --viewers N   parallel viewers of each trace (default ${DEFAULT_REPLAY.viewers})
  --sessions N  counted sessions besides the traces (default ${DEFAULT_REPLAY.sessions})
  --spread S    viewers start within so many seconds (default ${DEFAULT_REPLAY.spreadMs / 1000})
  --speed N     how many times faster than real time (default ${DEFAULT_REPLAY.acceleration})
  --seed N      default 1
  --json FILE   everything as JSON`;

/** One more viewer of each trace, whose heartbeats all come when their day is closed. */
const LATE = { viewers: 1, sessions: 0, spreadMs: 0, acceleration: 600 } as const;

if (import.meta.main) await runScenario(replay);

async function replay(args: readonly string[]): Promise<Scenario & ScenarioOutput> {
  const { folder, json, ...options } = readArgs(args);
  const { recordings, problems } = await readRecordings(folder);
  for (const problem of problems) console.error(`left out: ${problem}`);
  const of = (startEpochMs: number) => new Replay(recordings, { ...options, startEpochMs });
  const { durationMs } = of(0);
  console.log(
    `${recordings.traces.length} traces × ${options.viewers} viewers and ${options.sessions} of ` +
      `${recordings.sessions.length} sessions, ${options.acceleration} times faster: ` +
      `${Math.ceil(durationMs / 1000)} s`,
  );
  return {
    json,
    seed: options.seed,
    duplicateWindowMs: options.uplink.duplicateWindowMs,
    pipeline: {
      provision: { TWOFOLD_DUPLICATE_WINDOW_MS: String(options.uplink.duplicateWindowMs) },
    },
    begin: (startEpochMs) => {
      const run = of(startEpochMs);
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

type ReplayArgs = Omit<ReplayOptions, "startEpochMs"> & {
  readonly folder: string;
  readonly json?: string;
};

function readArgs(args: readonly string[]): ReplayArgs {
  const { values, positionals } = parse(args);
  if (positionals.length > 1) throw new Stop(USAGE, { exitCode: 2 });
  const number = (
    name: "viewers" | "sessions" | "spread" | "speed" | "seed",
    min: number,
    otherwise: number,
  ) => {
    const text = values[name];
    if (text === undefined) return otherwise;
    const value = Number(text);
    if (text.trim() !== "" && value >= min && Number.isFinite(value)) return value;
    throw new Stop(`--${name} is a number from ${min}\n${USAGE}`, { exitCode: 2 });
  };
  return {
    ...DEFAULT_REPLAY,
    folder: positionals[0] ?? DEFAULT_FOLDER,
    json: values.json,
    viewers: Math.floor(number("viewers", 0, DEFAULT_REPLAY.viewers)),
    sessions: Math.floor(number("sessions", 0, DEFAULT_REPLAY.sessions)),
    spreadMs: Math.floor(number("spread", 0, DEFAULT_REPLAY.spreadMs / 1000) * 1000),
    acceleration: number("speed", 1, DEFAULT_REPLAY.acceleration),
    seed: Math.floor(number("seed", 0, 1)),
  };
}

function parse(args: readonly string[]) {
  const text = { type: "string" } as const;
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { viewers: text, sessions: text, spread: text, speed: text, seed: text, json: text },
    });
  } catch (error) {
    throw new Stop(`${messageOf(error)}\n${USAGE}`, { exitCode: 2 });
  }
}
