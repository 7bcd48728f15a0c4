/**
 * The task `deno task triage COMMAND`: shows the quarantine.
 *
 * @module
 */
import { command } from "../shared/process/cli/command.ts";
import { type CommandGroup, JSON_OPTION } from "../shared/process/cli/declaration.ts";
import { integer, text } from "../shared/process/cli/parsers.ts";
import { main } from "../shared/process/cli/run.ts";
import { localEnvironment, readSettings } from "../shared/process/config.ts";
import { RetryAfter, Stop } from "../shared/process/errors.ts";
import { toJson } from "../shared/process/cli/json_output.ts";
import { type EntryRow, type GroupRow, Quarantine } from "./quarantine.ts";
import { renderGroup, renderGroups, sampleFields } from "./render.ts";
import { triageCliSettings } from "./settings.ts";

/** Maximum rows of one command. */
const MAX_ROWS = 10_000;

const listCommand = command({
  name: "list",
  summary: "list groups of rejected heartbeats, most recently seen first",
  options: {
    limit: {
      type: "string",
      value: "N",
      about: "maximum groups shown",
      parser: integer(1, MAX_ROWS),
      default: "50",
    },
    json: JSON_OPTION,
  },
  examples: [{ args: [] }, { args: ["--limit", "10", "--json"] }],
  async run({ limit, json }, io) {
    const groups = await withQuarantine((store) => store.groups(Date.now(), limit));
    if (json) io.out.write(toJson(groups));
    else io.out.line(renderGroups(groups));
    return 0;
  },
});

const showCommand = command({
  name: "show",
  summary: "show one group and its newest heartbeats",
  details: "With --json each heartbeat has its bytes as base64, and as text when it is UTF-8.",
  positionals: [{
    name: "group",
    about: "id of the group, or its first digits",
    parser: text(40),
    required: true,
  }],
  options: {
    limit: {
      type: "string",
      value: "N",
      about: "maximum heartbeats shown",
      parser: integer(1, MAX_ROWS),
      default: "5",
    },
    json: JSON_OPTION,
  },
  examples: [{ args: ["0123456789ab"] }, { args: ["0123", "--limit", "1", "--json"] }],
  async run({ group: prefix, limit, json }, io) {
    const { group, samples } = await withQuarantine((store) => readGroup(store, prefix, limit));
    if (json) io.out.write(toJson({ ...group, samples: samples.map(sampleFields) }));
    else io.out.line(renderGroup(group, samples));
    return 0;
  },
});

/** `deno task triage` and its commands. */
export const triageTask: CommandGroup = {
  name: "triage",
  summary: "show the quarantine",
  details: "Reads Postgres at TWOFOLD_POSTGRES_URL, or the one that deno task up runs here.",
  commands: [listCommand, showCommand],
};

/** Groups of many entries take a while to count. */
const COMMAND_SILENCE_MS = 120_000;

if (import.meta.main) await main(triageTask);

async function withQuarantine<T>(work: (store: Quarantine) => Promise<T>): Promise<T> {
  const settings = readSettings(triageCliSettings, localEnvironment("triage"));
  await using store = new Quarantine(settings.TWOFOLD_POSTGRES_URL, {
    silenceMs: COMMAND_SILENCE_MS,
  });
  try {
    return await work(store);
  } catch (error) {
    if (!(error instanceof RetryAfter)) throw error;
    throw new Stop(`${error.message} (is it running? deno task up starts everything)`);
  }
}

interface GroupSamples {
  readonly group: GroupRow;
  readonly samples: readonly EntryRow[];
}

async function readGroup(store: Quarantine, prefix: string, limit: number): Promise<GroupSamples> {
  if (!/^[0-9a-f]{1,12}$/.test(prefix)) throw noGroup(prefix);
  const [group, other] = await store.groupsLike(Date.now(), prefix, 2);
  if (!group) throw noGroup(prefix);
  if (other) {
    throw new Stop(`several groups start with ${prefix}; give more digits of the id`);
  }
  return { group, samples: await store.entries(group.groupId, limit) };
}

function noGroup(id: string): Stop {
  return new Stop(`no group ${JSON.stringify(id)}; see deno task triage list`);
}
