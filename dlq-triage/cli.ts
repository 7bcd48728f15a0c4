/**
 * `deno task triage list|show`: what is in the quarantine.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { localEnvironment, readSettings } from "../shared/process/config.ts";
import { messageOf, RetryAfter, Stop } from "../shared/process/errors.ts";
import { Quarantine } from "./quarantine.ts";
import { renderGroup, renderGroups, safeJson, sampleJson } from "./render.ts";
import { triageCliSettings } from "./settings.ts";

const USAGE = `usage:
  deno task triage list [--limit N] [--json]          groups, the one seen last first
  deno task triage show GROUP [--limit N] [--json]    one group and its newest entries`;

/** Most rows one command reads. */
const MAX_LIMIT = 10_000;

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    console.error(messageOf(error));
    Deno.exit(error instanceof Stop ? error.exitCode : 1);
  }
}

async function main(args: readonly string[]): Promise<void> {
  const command = readCommand(args);
  const settings = readSettings(triageCliSettings, localEnvironment("triage"));
  await using store = new Quarantine(settings.TWOFOLD_POSTGRES_URL);
  try {
    console.log(command.name === "list" ? await list(store, command) : await show(store, command));
  } catch (error) {
    if (!(error instanceof RetryAfter)) throw error;
    throw new Stop(`${error.message} (is it running? deno task up starts everything)`);
  }
}

interface Command {
  readonly name: "list" | "show";
  /** Id or a prefix of it, for `show`. */
  readonly group: string;
  readonly limit: number;
  readonly json: boolean;
}

function readCommand(args: readonly string[]): Command {
  const parsed = parse(args);
  const { positionals: [name, group = "", ...rest], values } = parsed;
  const isList = name === "list" && group === "";
  const isShow = name === "show" && /^[0-9a-f]{1,12}$/.test(group);
  if (name === "show" && group !== "" && !isShow) throw noGroup(group);
  if ((!isList && !isShow) || rest.length > 0) throw new Stop(USAGE, { exitCode: 2 });
  const limit = Number(values.limit ?? (isList ? 50 : 5));
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw new Stop(`--limit is a whole number from 1 to ${MAX_LIMIT}`, { exitCode: 2 });
  }
  return { name: isList ? "list" : "show", group, limit, json: values.json ?? false };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { limit: { type: "string" }, json: { type: "boolean" } },
    });
  } catch (error) {
    throw new Stop(`${messageOf(error)}\n${USAGE}`, { exitCode: 2 });
  }
}

async function list(store: Quarantine, { limit, json }: Command): Promise<string> {
  const groups = await store.groups(Date.now(), limit);
  return json ? safeJson(groups) : renderGroups(groups);
}

async function show(store: Quarantine, command: Command): Promise<string> {
  const { group: prefix, limit, json } = command;
  const [group, other] = await store.groupsLike(Date.now(), prefix, 2);
  if (!group) throw noGroup(prefix);
  if (other) {
    throw new Stop(`several groups start with ${prefix}; give more of the id`, { exitCode: 2 });
  }
  const samples = await store.entries(group.groupId, limit);
  return json
    ? safeJson({ ...group, samples: samples.map(sampleJson) })
    : renderGroup(group, samples);
}

function noGroup(id: string): Stop {
  const shown = JSON.stringify(id.slice(0, 40));
  return new Stop(`no group ${shown}; see deno task triage list`, { exitCode: 2 });
}
