/**
 * `deno task up`: runs the pipeline until Ctrl-C and starts again what ends or hangs; data and passwords
 * persist in `.twofold/`.
 *
 * @module
 */
import { Hono } from "hono";
import { command } from "../../process/cli/command.ts";
import type { Output } from "../../process/cli/io.ts";
import { integer } from "../../process/cli/parsers.ts";
import { main } from "../../process/cli/run.ts";
import { processSettings, readSettings } from "../../process/config.ts";
import { messageOf, Stop } from "../../process/errors.ts";
import { Health } from "../../process/health.ts";
import { HttpServers } from "../../process/http/server.ts";
import { Log } from "../../process/log.ts";
import { Metrics } from "../../process/metrics.ts";
import { Pipeline } from "../servers/pipeline.ts";
import { Workspace } from "../servers/workspace.ts";
import { guide } from "./guide.ts";
import {
  lockInstallation,
  openInstallation,
  writeContexts,
  writeEnvironments,
} from "./installation.ts";
import { BASE_PORT, FOLDER, PORT_COUNT, portsFrom, requireFree } from "./places.ts";
import { partsOf } from "./parts.ts";
import { startPageOf } from "./pipeline_page.ts";
import { Supervisor } from "./supervisor.ts";
import { simulateTraffic, TRAFFIC_TEXT } from "./traffic.ts";

/** How often to look whether the process that started this one is still there, ms. */
const PARENT_MS = 500;

/** `deno task up`. */
export const upTask = command({
  name: "up",
  summary: "the pipeline, staying up",
  details: `Data, logs and secrets are in ${FOLDER}/, where the next start goes on; deno task ` +
    "alerts, live, royalty, triage and provision find the servers there. A server or service that " +
    "ends, or lives without working, is started again. Ctrl-C stops it.",
  options: {
    port: {
      type: "string",
      value: "N",
      about: `first of ${PORT_COUNT} ports in a row; it has the start page`,
      parser: integer(1024, 65_536 - PORT_COUNT),
      default: String(BASE_PORT),
    },
    simulate: { type: "boolean", about: "send the heartbeats of a simulated fleet" },
  },
  examples: [{ args: [] }, { args: ["--simulate"] }, {
    args: ["--port", "7500"],
    about: "beside another one, from another checkout",
  }],
  async run({ port, simulate }, io) {
    await up(port, simulate, io.out);
    return 0;
  },
});

if (import.meta.main) await main(upTask);

async function up(port: number, isSimulated: boolean, output: Output): Promise<void> {
  const over = new AbortController();
  endsBy(over);
  const say = (line: string) => {
    try {
      output.line(line);
    } catch (error) {
      over.abort(`its output cannot be written: ${error}`);
    }
  };
  await using workspace = await Workspace.at(FOLDER);
  using _lock = await lockInstallation(workspace.folder);
  const ports = portsFrom(port);
  await requireFree(port, (line) => say(`… ${line}`));
  const installation = await openInstallation(workspace.folder);
  await using pipeline = await Promise.race([
    Pipeline.start(workspace, {
      ...installation,
      ports,
      durable: true,
      hasCanary: true,
      progress: (step) => say(`… ${step}`),
    }),
    ended(over.signal).then((why) => {
      throw new Stop(`stopped while starting (${why})`, { exitCode: 0 });
    }),
  ]);
  const supervisor = new Supervisor(partsOf(pipeline), (line) => say(`${timeText()} ${line}`));
  using _page = serve(port, startPageOf(pipeline, port, supervisor));
  await writeEnvironments(pipeline);
  await openBooks(pipeline);
  say(guide({ ...pipeline, ports }, await writeContexts(pipeline)));
  const sending = isSimulated ? simulate(pipeline, over.signal, say) : undefined;
  const why = await ended(over.signal);
  say(`\nstopping (${why}); data stay in ${FOLDER}/`);
  await supervisor.stop();
  await sending;
}

/** Resolves with the reason once `signal` is aborted. */
async function ended(signal: AbortSignal): Promise<string> {
  if (!signal.aborted) {
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  }
  return String(signal.reason);
}

/** Aborts when a person or the system ends this process, or what started it has ended. */
function endsBy(over: AbortController): void {
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(name, () => over.abort(name));
  }
  const parent = Deno.ppid;
  const timer = setInterval(() => {
    if (Deno.ppid !== parent) over.abort("the process that started it has ended");
  }, PARENT_MS);
  Deno.unrefTimer(timer);
}

/** Lets days close by themselves, from today on; once. */
async function openBooks(pipeline: Pipeline): Promise<void> {
  const today = new Date().toISOString().slice(0, 10);
  await pipeline.cli("royalty", ["open", "--day", today, "--by", "task up"]).catch((error) => {
    if (!messageOf(error).includes("the books are open since before")) throw error;
  });
}

/** Serves the start page, with the limits of every server of Twofold. */
function serve(port: number, app: Hono): Disposable {
  const servers = new HttpServers({
    settings: readSettings(processSettings, {}),
    log: new Log("up", "error"),
    health: new Health(),
    metrics: new Metrics(),
  });
  const server = servers.listen({ hostname: "127.0.0.1", port }, app);
  return { [Symbol.dispose]: () => void server.shutdown() };
}

async function simulate(
  { services, fleetKey }: Pipeline,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  say(TRAFFIC_TEXT);
  const target = { url: services.ingest.url, key: fleetKey };
  await simulateTraffic(target, Date.now(), signal)
    .catch((error) => say(`the simulated fleet has stopped: ${messageOf(error)}`));
}

function timeText(): string {
  return new Date().toISOString().slice(11, 19);
}
