/**
 * What `deno task up` keeps in `.twofold/` besides data and logs: keys, passwords, the lock, and
 * files with which commands find the pipeline.
 *
 * @module
 */
import { Stop } from "../../process/errors.ts";
import { ROLES } from "../../process/nats.ts";
import { type NatsUser, passwordsFor } from "../servers/nats_server.ts";
import type { Pipeline } from "../servers/pipeline.ts";
import { FOLDER } from "./places.ts";

/** What must be the same at the next start. */
export interface Installation {
  readonly fleetKey: string;
  readonly financeKey: string;
  readonly passwords: Record<NatsUser, string>;
}

/**
 * Takes the folder for this process, since two pipelines on the same data would destroy it. Throws
 * {@link Stop} when another process has it.
 */
export async function lockInstallation(folder: string): Promise<Deno.FsFile> {
  const file = await Deno.open(`${folder}/lock`, { create: true, write: true });
  if (!file.tryLockSync(true)) {
    file.close();
    throw new Stop(`another \`deno task up\` is running on ${FOLDER}/; stop it first`);
  }
  return file;
}

/** Reads what an earlier start wrote, adds what is missing, and writes it. */
export async function openInstallation(folder: string): Promise<Installation> {
  const file = `${folder}/installation.json`;
  const before = await readInstallation(file);
  const secret = () => `p${crypto.randomUUID().replaceAll("-", "")}`;
  const installation: Installation = {
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

/** Writes the settings with which the commands find the pipeline. */
export async function writeEnvironments(pipeline: Pipeline): Promise<void> {
  const lines = (env: Record<string, string>) =>
    Object.entries(env).map(([name, value]) => `${name}=${value}\n`).join("");
  for (const role of ["royalty", "triage"] as const) {
    await writeSecret(`${FOLDER}/${role}.env`, lines(pipeline.cliSettings(role)));
  }
  await writeSecret(`${FOLDER}/ops.env`, lines(pipeline.provisionSettings()));
  await writeSecret(`${FOLDER}/oncall.env`, lines(pipeline.nats.settings("oncall")));
}

/** Writes contexts of the nats CLI, and returns their folder. */
export async function writeContexts(pipeline: Pipeline): Promise<string> {
  // One for each role, in a configuration folder of its own, so that those of the user do not change.
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
