/**
 * `deno task up`: runs the pipeline until Ctrl-C; data, passwords and ports persist in `.twofold/`.
 *
 * @module
 */
import { command } from "../../process/cli/command.ts";
import type { Output } from "../../process/cli/io.ts";
import { main } from "../../process/cli/run.ts";
import { Stop } from "../../process/errors.ts";
import { ROLES } from "../../process/nats.ts";
import { renderPairs } from "../../process/cli/table.ts";
import { DATABASE_ROLES } from "../../provision/roles.ts";
import { freePorts, Pipeline, type Ports } from "../servers/pipeline.ts";
import { type ServiceName, SERVICES } from "../servers/service_process.ts";
import { Workspace } from "../servers/workspace.ts";
import { type NatsUser, passwordsFor } from "../servers/nats_server.ts";

const FOLDER = ".twofold";

/** What must be the same at the next start. */
interface Installation {
  readonly ports: Ports;
  readonly fleetKey: string;
  readonly financeKey: string;
  readonly passwords: Record<NatsUser, string>;
}

/** What {@link guide} says of a pipeline. */
export interface GuidedPipeline {
  readonly services: Readonly<Record<ServiceName, { readonly url: string }>>;
  readonly fleetKey: string;
  readonly financeKey: string;
  readonly nats: { readonly url: string; readonly monitorPort: number };
  readonly ports: { readonly finance: number };
  readonly postgres: { readonly port: number };
}

/** `deno task up`. */
export const upTask = command({
  name: "up",
  summary: "the pipeline, staying up",
  details: `Data, logs and secrets are in ${FOLDER}/, where the next start goes on; deno task ` +
    "alerts, live, royalty, triage and provision find the servers there. Ctrl-C stops it.",
  examples: [{ args: [] }],
  async run(_, io) {
    await up(io.out);
    return 0;
  },
});

if (import.meta.main) await main(upTask);

async function up(output: Output): Promise<void> {
  const stop = new Promise<string>((resolve) => {
    for (const name of ["SIGINT", "SIGTERM"] as const) {
      Deno.addSignalListener(name, () => resolve(name));
    }
  });
  await using workspace = await Workspace.at(FOLDER);
  using _lock = await lock(workspace.folder);
  const installation = await installed(workspace.folder);
  await using pipeline = await Pipeline.start(workspace, {
    ...installation,
    durable: true,
    hasCanary: true,
    progress: (step) => output.line(`… ${step}`),
  });
  await writeEnvironments(pipeline);
  const contexts = await writeContexts(pipeline);
  output.line(guide(pipeline, contexts));
  const crashed = Promise.race(SERVICES.map(async (name) => {
    const code = await pipeline.services[name].ended();
    return `${name} ended with status ${code}; its log is ${FOLDER}/${name}.log`;
  }));
  const reason = await Promise.race([stop, crashed]);
  output.line(`\nstopping (${reason}); data stay in ${FOLDER}/`);
}

// Two pipelines on the same data would destroy it.
async function lock(folder: string): Promise<Deno.FsFile> {
  const file = await Deno.open(`${folder}/lock`, { create: true, write: true });
  if (!file.tryLockSync(true)) {
    file.close();
    throw new Stop(`another \`deno task up\` is running on ${FOLDER}/; stop it first`);
  }
  return file;
}

async function installed(folder: string): Promise<Installation> {
  const file = `${folder}/installation.json`;
  const before = await readInstallation(file);
  const secret = () => `p${crypto.randomUUID().replaceAll("-", "")}`;
  const ports = freePorts();
  const installation: Installation = {
    // A service that a newer version added has no port yet.
    ports: { ...ports, ...before?.ports, http: { ...ports.http, ...before?.ports.http } },
    fleetKey: before?.fleetKey ?? secret(),
    financeKey: before?.financeKey ?? secret(),
    // A role that a newer version added has no password yet.
    passwords: passwordsFor((user) => before?.passwords[user] ?? secret()),
  };
  await writeSecret(file, JSON.stringify(installation, null, 2) + "\n");
  return installation;
}

async function readInstallation(file: string): Promise<Installation | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(file));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function writeEnvironments(pipeline: Pipeline): Promise<void> {
  const lines = (env: Record<string, string>) =>
    Object.entries(env).map(([name, value]) => `${name}=${value}\n`).join("");
  for (const role of DATABASE_ROLES) {
    await writeSecret(`${FOLDER}/${role}.env`, lines(pipeline.cliSettings(role)));
  }
  await writeSecret(`${FOLDER}/ops.env`, lines(pipeline.provisionSettings()));
  await writeSecret(`${FOLDER}/oncall.env`, lines(pipeline.nats.settings("oncall")));
}

// A context file of the nats CLI per role, in a separate configuration folder, so that the contexts
// of the user do not change.
async function writeContexts(pipeline: Pipeline): Promise<string> {
  const folder = `${pipeline.workspace.folder}/nats-cli/nats/context`;
  await Deno.mkdir(folder, { recursive: true });
  for (const role of ROLES) {
    const context = {
      description: `Twofold, as ${role}`,
      url: `nats://${pipeline.nats.url}`,
      user: role,
      password: pipeline.nats.passwords[role],
      inbox_prefix: `_INBOX_${role}`,
    };
    await writeSecret(`${folder}/twofold-${role}.json`, JSON.stringify(context, null, 2) + "\n");
  }
  return `${pipeline.workspace.folder}/nats-cli`;
}

async function writeSecret(file: string, text: string): Promise<void> {
  await Deno.writeTextFile(file, text, { mode: 0o600 });
}

/** What `deno task up` prints once everything runs; `contexts` is the folder of the nats CLI's. */
export function guide(pipeline: GuidedPipeline, contexts: string): string {
  const { services, fleetKey, financeKey, nats, ports, postgres } = pipeline;
  const event = JSON.stringify({
    v: 1,
    event_id: crypto.randomUUID(),
    session_id: "s-1",
    device_id: "d-1",
    title_id: "title-1",
    seq: 0,
    region: "de",
    ts: Date.now(),
    interval_ms: 10000,
    state: "playing",
    played_ms: 10000,
    rebuffer_ms: 0,
    rebuffer_count: 0,
    device: { model: "TV-55", os: "tvos 19", build: "9.1.0" },
  });
  return `
Twofold is up. Data, logs and secrets are in ${FOLDER}/; Ctrl-C stops it, the next start continues.

  board     ${services.pager.url}/   (what is open now; also /openapi.json)
  edge      ${services.ingest.url}/v1/heartbeats   (also /openapi.json)
  each has  /healthz /readyz /metrics:
${indented(renderPairs(SERVICES.map((name) => [name, services[name].url])), 12)}
  finance   http://127.0.0.1:${ports.finance}/   (user demo, password ${financeKey})
  nats      ${nats.url}   monitoring http://127.0.0.1:${nats.monitorPort}
  postgres  127.0.0.1:${postgres.port}   database twofold

Send a heartbeat:
  curl -i ${services.ingest.url}/v1/heartbeats -H 'authorization: Bearer ${fleetKey}' \\
    -H 'content-type: application/json' -d '${event}'

Finance and the quarantine, from this folder:
  npx -y deno@2.9.6 task royalty status
  npx -y deno@2.9.6 task royalty export --day ${new Date().toISOString().slice(0, 10)}
  npx -y deno@2.9.6 task triage list

What is open now:
  npx -y deno@2.9.6 task alerts --follow

The nats CLI, with a context per role (${ROLES.map((role) => `twofold-${role}`).join(", ")}):
  export XDG_CONFIG_HOME=${contexts}
  nats --context twofold-oncall sub --last-per-subject 'alerts.>'
  nats --context twofold-ops stream report
  nats --context twofold-ops consumer report HEARTBEATS
`;
}

function indented(text: string, columns: number): string {
  return text.split("\n").map((line) => " ".repeat(columns) + line).join("\n");
}
