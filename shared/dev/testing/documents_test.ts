import { ROOT } from "./module_graph.ts";
import { assert, assertEquals } from "@std/assert";
import type { z } from "zod";
import { triageTask } from "../../../dlq-triage/cli.ts";
import { triageSettings } from "../../../dlq-triage/settings.ts";
import { ingestSettings } from "../../../ingest/settings.ts";
import { alertsTask } from "../../../live/commands/alerts.ts";
import { pagerSettings } from "../../../live/pager/settings.ts";
import { liveSettings } from "../../../live/settings.ts";
import { royaltyTask } from "../../../royalty/cli.ts";
import { royaltySettings } from "../../../royalty/settings.ts";
import { benchTask } from "../../e2e/bench.ts";
import { chaosTask } from "../../e2e/chaos/chaos.ts";
import { soakTask } from "../../e2e/chaos/soak.ts";
import { loadTask } from "../../e2e/load/load.ts";
import { isGroup, type Task } from "../../process/cli/declaration.ts";
import { Misuse } from "../../process/cli/misuse.ts";
import { LOG_EVENTS } from "../../process/log_events.ts";
import { provisionSettings, provisionTask } from "../../provision/main.ts";
import { demoTask } from "../demo/demo.ts";
import { replayTask } from "../demo/replay.ts";
import { upTask } from "../up/up.ts";
import { TEST_TASKS } from "./run_tests.ts";

const README_LINES = 150;

type Settings = Readonly<Record<string, z.ZodType>>;

/** Each process with settings: the README that lists them, and the folder that holds its code. */
const PROCESSES: readonly { readonly readme: string; readonly settings: Settings }[] = [
  { readme: "ingest/README.md", settings: ingestSettings },
  { readme: "live/README.md", settings: liveSettings },
  { readme: "live/pager/README.md", settings: pagerSettings },
  { readme: "royalty/README.md", settings: royaltySettings },
  { readme: "dlq-triage/README.md", settings: triageSettings },
  { readme: "shared/README.md", settings: provisionSettings },
];
/** The tasks that read a command line of their own. */
const TASKS: readonly Task[] = [
  ...[royaltyTask, triageTask, provisionTask],
  ...[alertsTask, benchTask, chaosTask, demoTask, loadTask, replayTask, soakTask, upTask],
  ...Object.values(TEST_TASKS),
];
const PATHS = [
  ...["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"],
  ...PROCESSES.map(({ readme }) => readme),
  "shared/deploy/README.md",
];

const documents = await Promise.all(
  PATHS.map(async (path) => ({ path, text: await Deno.readTextFile(new URL(path, ROOT)) })),
);
const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));

function documentAt(path: string): string {
  const found = documents.find((each) => each.path === path);
  assert(found, `${path} is a document`);
  return found.text;
}

for (const { readme, settings } of PROCESSES) {
  Deno.test(`the table of settings in ${readme} is what the process reads`, () => {
    const expected = settingsTable(settings);
    assertEquals(
      rowsOf(tableOf(documentAt(readme), "setting")),
      rowsOf(expected),
      `the table should be:\n${expected}`,
    );
  });
}

Deno.test("every task the documents name exists", () => {
  const named = allNamed(/(?:deno(?:@2\.9\.6)? |`)task ([\w:]+)/g);
  assert(named.length > 20, "the documents name tasks");
  assertEquals(named.filter(({ name }) => !(name in config.tasks)), []);
});

Deno.test("every command line in the documents is one that its task takes", () => {
  const lines = allNamed(/deno@2\.9\.6 task ([^`\n#]+)/g);
  assert(lines.length > 20, "the documents have command lines");
  const wrong = lines.flatMap(({ path, name }) =>
    mistakeIn(name).map((what) => ({ path, name, what }))
  );
  assertEquals(wrong, []);
});

Deno.test("every file and folder the documents test exists", async () => {
  const named = allNamed(/deno@2\.9\.6 test -A((?: +[\w./-]+)+)/g)
    .flatMap(({ path, name }) => name.trim().split(/ +/).map((each) => ({ path, name: each })))
    .filter(({ name }) => !name.startsWith("-"));
  assert(named.length > 5, "the documents name tests");
  assertEquals(await missing(named.map(({ name, path }) => ({ name, path, target: name }))), []);
});

Deno.test("every file and heading the documents link to exists", async () => {
  const links = allNamed(/\]\((?!https?:)([^)\s]+)\)/g);
  assert(links.length > 30, "the documents have links");
  const targets = links.map(({ path, name }) => {
    const { pathname, hash } = new URL(name, `file:///${path}`);
    return { path, name, target: decodeURIComponent(pathname.slice(1)), hash: hash.slice(1) };
  });
  assertEquals(await missing(targets), []);
  const withoutHeading = targets.filter(({ target, hash }) =>
    hash !== "" && !anchorsOf(documentAt(target)).includes(hash)
  );
  assertEquals(withoutHeading, []);
});

Deno.test(`README.md has at most ${README_LINES} lines`, () => {
  const lines = documentAt("README.md").trimEnd().split("\n").length;
  assert(lines <= README_LINES, `it has ${lines}`);
});

Deno.test("every README lists the metrics that its service has", async () => {
  for (const { readme } of PROCESSES) {
    const folder = readme.slice(0, readme.lastIndexOf("/") + 1);
    const listed = rowsOf(tableOf(documentAt(readme), "metric")).slice(2)
      .map(([, name = ""]) => name.replaceAll("`", ""));
    // Tests, development tools and services have metrics of their own.
    const code = folder === "shared/" ? `${folder}process/` : folder;
    assertEquals(listed.sort(), await registeredMetrics(code), readme);
  }
});

Deno.test("every log event the documents name exists", () => {
  const services = new Set(Object.keys(LOG_EVENTS).map((event) => event.split(".")[0]));
  const named = allNamed(/`([a-z]+\.[a-z_]+(?:\.[a-z_]+)?)`/g)
    .filter(({ name }) => services.has(name.split(".")[0]) && !name.endsWith(".ts"));
  assert(named.length > 10, "the documents name log events");
  assertEquals(named.filter(({ name }) => !(name in LOG_EVENTS)), []);
});

interface Named {
  /** The document. */
  readonly path: string;
  readonly name: string;
}

/** What `pattern` captures, in every document. */
function allNamed(pattern: RegExp): Named[] {
  return documents.flatMap(({ path, text }) =>
    [...text.matchAll(pattern)].map(([, name = ""]) => ({ path, name }))
  );
}

/** Why a task does not take `line`, which begins with the name of the task; empty when it does. */
function mistakeIn(line: string): string[] {
  const [name, ...words] = [...line.matchAll(/"([^"]*)"|\S+/g)].map(([word, quoted]) =>
    quoted ?? word
  );
  const task = TASKS.find((each) => each.name === name);
  if (!task || words.some((word) => word === "--help")) return [];
  const command = isGroup(task) ? task.commands.find((each) => each.name === words[0]) : task;
  try {
    if (!command) throw new Misuse(`there is no command ${words[0]}`);
    command.prepare(isGroup(task) ? words.slice(1) : words);
    return [];
  } catch (error) {
    if (error instanceof Misuse) return [error.message];
    throw error;
  }
}

/** Those of `named` whose target, a path from the root, does not exist. */
async function missing<N extends Named & { readonly target: string }>(
  named: readonly N[],
): Promise<N[]> {
  const exist = await Promise.all(
    named.map(({ target }) => Deno.stat(new URL(target, ROOT)).then(() => true, () => false)),
  );
  return named.filter((_, index) => !exist[index]);
}

/** The anchors that the headings of a document get. */
function anchorsOf(text: string): string[] {
  const prose = text.replace(/^```[\s\S]*?^```/gm, "");
  return [...prose.matchAll(/^#+ +(.*)$/gm)].map(([, heading = ""]) =>
    heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-")
  );
}

/** The first table of a document whose first column is `column`. */
function tableOf(text: string, column: string): string {
  const start = text.search(new RegExp(`^\\| ${column} +\\|`, "m"));
  assert(start >= 0, `there is a table with a column ${column}`);
  return text.slice(start).split("\n\n")[0] ?? "";
}

/** The cells of a table, without the padding that the formatter adds. */
function rowsOf(table: string): string[][] {
  return table.trim().split("\n").map((row) =>
    row.split(/(?<!\\)\|/).map((cell) => cell.trim().replace(/^-+$/, "-"))
  );
}

function settingsTable(settings: Settings): string {
  return [
    "| setting | default | what it is |",
    "| --- | --- | --- |",
    ...Object.entries(settings).map(([name, schema]) =>
      `| \`${name}\` | ${defaultOf(schema)} | ${
        (schema.description ?? "").replaceAll("|", "\\|")
      } |`
    ),
  ].join("\n");
}

function defaultOf(schema: z.ZodType): string {
  const without = schema.safeParse(undefined);
  if (!without.success) return "required";
  if (without.data === undefined) return "unset";
  return `\`${Array.isArray(without.data) ? without.data.join(",") : without.data}\``;
}

/** Names of the metrics that the code below `folder` registers. */
async function registeredMetrics(folder: string): Promise<string[]> {
  const names = new Set<string>();
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder, ROOT))) {
    const path = `${folder}${name}`;
    // A process in a room of another has its own list.
    if (PROCESSES.some(({ readme }) => readme === `${path}/README.md`)) continue;
    if (isDirectory) {
      for (const each of await registeredMetrics(`${path}/`)) names.add(each);
    } else if (name.endsWith(".ts") && !/_(test|bench)\.ts$/.test(name)) {
      const text = await Deno.readTextFile(new URL(path, ROOT));
      const called =
        /\.(?:counter|gauge|histogram|counterOf|gaugeOf)\(\s*"((?:twofold|process)_\w+)"/g;
      for (const [, metric = ""] of text.matchAll(called)) names.add(metric);
    }
  }
  return [...names].sort();
}
