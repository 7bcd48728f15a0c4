/**
 * `deno task soak`: the whole pipeline under a steady load, and what it does to the memory of every
 * process. Afterwards the books must have counted what the edge accepted.
 *
 * @module
 */
import { check, type CheckLine, equal } from "../../dev/demo/check_line.ts";
import { Observer } from "../../dev/demo/observer.ts";
import { renderChecks } from "../../dev/demo/verdict.ts";
import type { LoadOptions } from "../../dev/fleet/device_client_load.ts";
import { Pipeline } from "../../dev/servers/pipeline.ts";
import { Workspace } from "../../dev/servers/workspace.ts";
import { ChildProcess } from "../../dev/testing/child_process.ts";
import { mebibytes, ownBytesOfTree } from "../../dev/testing/measure.ts";
import { waitFor } from "../../dev/testing/wait_for.ts";
import { command } from "../../process/cli/command.ts";
import { toJson } from "../../process/cli/json_output.ts";
import { integer, numberWithin } from "../../process/cli/parsers.ts";
import { main } from "../../process/cli/run.ts";
import { left, renderTable, right } from "../../process/cli/table.ts";
import { Stop } from "../../process/errors.ts";
import { pause } from "../../process/retry.ts";
import type { LoadResult } from "../load_main.ts";
import { courseOf, type MemoryCourse, memoryLimitOf } from "./memory.ts";

const MINUTE_MS = 60_000;
const SAMPLE_MS = 2_000;
/** How often a device reports, s. */
const DEVICE_SECONDS = 10;
const EVENTS_PER_REQUEST = 100;
/** When duplicate windows and other caches are full: the window of the streams, and some more. */
const FULL_AFTER_MS = 150_000;
/** Maximum time after the load until every event is counted. */
const DRAIN_MS = 120_000;

/** `deno task soak`. */
export const soakTask = command({
  name: "soak",
  summary: "a steady load, and the memory of every process at its start, middle and end",
  details: "Starts servers and services of its own. Memory is what belongs to a process alone, " +
    "with its children. A process grows when the last tenth of the run has over a tenth and over " +
    "16 MiB more than the tenth after the first 150 s, when the duplicate windows of two minutes " +
    "are full, and than the middle tenth; nats-server also has to exceed its limit of 1 GiB. A " +
    "run of less than four minutes does not judge that. Exits 1 when one grows, or " +
    "when the books differ from what was accepted, in events or in milliseconds.",
  options: {
    minutes: {
      type: "string",
      value: "M",
      about: "length of the load, 0.1 to 1440",
      parser: numberWithin(0.1, 1440),
      default: "60",
    },
    rate: {
      type: "string",
      value: "N",
      about: "heartbeats a second, in posts of 100",
      parser: integer(100, 100_000),
      default: "5000",
    },
    json: { type: "boolean", about: "print the result as JSON" },
  },
  examples: [{ args: [] }, { args: ["--minutes", "5", "--json"] }],
  async run({ minutes, rate, json }, io) {
    await using workspace = await Workspace.temporary();
    await using pipeline = await Pipeline.start(workspace, {
      durable: true,
      hasCanary: true,
      progress: (step) => io.err.line(step),
    });
    io.err.line(`sending ${rate} heartbeats a second for ${minutes} minutes`);
    const soaked = await soak(pipeline, minutes * MINUTE_MS / 1_000, rate);
    const checks = checksOf(soaked);
    const ok = checks.every((each) => each.ok);
    if (json) io.out.write(toJson({ ok, minutes, rate, memory: soaked.memory, checks }));
    else io.out.line([tableOf(soaked.memory), renderChecks(checks)].join("\n\n"));
    return ok ? 0 : 1;
  },
});

interface Soaked {
  readonly memory: Readonly<Record<string, MemoryCourse>>;
  readonly sent: number;
  readonly counted: number;
  readonly sentMs: number;
  readonly creditedMs: number;
}

async function soak(pipeline: Pipeline, seconds: number, rate: number): Promise<Soaked> {
  const observer = await Observer.start(pipeline);
  const samples = new Map(Object.keys(pidsOf(pipeline)).map((name) => [name, [] as number[]]));
  await using load = startLoad(pipeline, seconds, rate);
  while (load.exitCode === null) {
    for (const [name, pid] of Object.entries(pidsOf(pipeline))) {
      samples.get(name)?.push(ownBytesOfTree(pid));
    }
    // No sleep: it is how often memory is sampled.
    await Promise.race([pause(SAMPLE_MS), load.exited]);
  }
  const { code, out, err } = await load.ended;
  if (code !== 0) throw new Stop(`the load failed: ${err}`);
  const { sent, ms: sentMs }: LoadResult = JSON.parse(out);
  const books = await waitFor("every event to be counted", async () => {
    const { lag, counted, creditedMs } = await observer.snapshot();
    return lag.royalty === 0 && counted >= sent ? { counted, creditedMs } : undefined;
  }, { timeoutMs: DRAIN_MS });
  const fullFrom = FULL_AFTER_MS / SAMPLE_MS;
  const memory = [...samples].map((
    [name, each],
  ) => [name, courseOf(each, fullFrom, memoryLimitOf(name))]);
  return { memory: Object.fromEntries(memory), sent, sentMs, ...books };
}

function pidsOf({ services, nats, postgres }: Pipeline): Record<string, number> {
  return {
    ...Object.fromEntries(Object.values(services).map(({ name, pid }) => [name, pid])),
    "nats-server": nats.pid,
    postgres: postgres.pid,
  };
}

function startLoad(pipeline: Pipeline, seconds: number, eventsPerSecond: number): ChildProcess {
  const options: LoadOptions = {
    url: pipeline.edgeUrl,
    key: pipeline.fleetKey,
    seconds,
    eventsPerSecond,
    eventsPerRequest: EVENTS_PER_REQUEST,
    // Each connection has the devices of one body, which report in turn.
    concurrency: Math.ceil(eventsPerSecond * DEVICE_SECONDS / EVENTS_PER_REQUEST),
  };
  const program = new URL("../load_main.ts", import.meta.url).pathname;
  return new ChildProcess(Deno.execPath(), [
    ...["run", "--quiet", "-A", program, JSON.stringify(options)],
  ]);
}

function checksOf({ memory, sent, counted, sentMs, creditedMs }: Soaked): CheckLine[] {
  return [
    ...Object.entries(memory).map(([name, { verdict }]) =>
      check(`memory of ${name}`, "flat", verdict, verdict !== "growing")
    ),
    equal("counted, of those accepted", sent, counted),
    equal("credited, of what was accepted, ms", sentMs, creditedMs),
  ];
}

const COLUMNS = [
  left("process"),
  right("start"),
  right("windows full"),
  right("middle"),
  right("end"),
];

function tableOf(memory: Soaked["memory"]): string {
  return renderTable(
    COLUMNS,
    Object.entries(memory).map(([name, { startBytes, fullBytes, middleBytes, endBytes }]) => [
      name,
      ...[startBytes, fullBytes, middleBytes, endBytes].map((bytes) =>
        bytes === undefined ? "" : mebibytes(bytes)
      ),
    ]),
  );
}

if (import.meta.main) await main(soakTask);
