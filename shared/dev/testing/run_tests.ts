/**
 * `deno task test [PATH …]`, `test:unit`, `test:int`: runs tests and prints the slowest tests and
 * files. `deno task ok` runs the checks of `deno task check` before all tests.
 *
 * Unit tests are the `_test.ts` files that start no server; integration tests (`_int_test.ts`) run
 * against real servers on free ports. Unit tests run first. Five files run at a time.
 *
 * @module
 */
import { command } from "../../process/cli/command.ts";
import type { Command } from "../../process/cli/declaration.ts";
import { Misuse } from "../../process/cli/misuse.ts";
import { text } from "../../process/cli/parsers.ts";
import { main } from "../../process/cli/run.ts";
import { left, renderTable, right } from "../../process/cli/table.ts";
import { filesBelow } from "./module_graph.ts";

/** Files that run at a time, on two cores: most of them wait for servers, each for its own. */
const JOBS = 5;
const SLOWEST = 10;

/** Files that take a minute or more, the longest first: they start first, so that none is last. */
export const START_FIRST: readonly string[] = [
  "live/live_processes_int_test.ts",
  "royalty/posting/posting_int_test.ts",
  "live/live_failover_int_test.ts",
  "live/live_pages_int_test.ts",
  "live/live_servers_int_test.ts",
  "live/live_restart_int_test.ts",
  "shared/e2e/half_open_int_test.ts",
  "live/live_int_test.ts",
  "shared/dev/demo/demo_int_test.ts",
  "live/pager/silence_int_test.ts",
  "shared/dev/up/up_int_test.ts",
  "live/pager/canary/canary_int_test.ts",
  "live/pager/stalled_int_test.ts",
  "shared/e2e/chaos/chaos_int_test.ts",
  "royalty/posting/scale_int_test.ts",
  "live/pager/filling/filling_int_test.ts",
  "shared/e2e/cluster_int_test.ts",
  "shared/e2e/silence_int_test.ts",
  "royalty/rejects/copies_int_test.ts",
];

type TestKind = "unit" | "int";

/** One test of the report. */
interface TestCase {
  readonly file: string;
  readonly name: string;
  readonly seconds: number;
  readonly hasFailed: boolean;
}

/** What a process of Deno reported. */
interface TestRun {
  readonly cases: readonly TestCase[];
  /** Whether it ran to its end, with or without failures. */
  readonly isComplete: boolean;
}

const ROOT = new URL("../../../", import.meta.url);

/** The tasks that run tests, by the first argument that their entry in `deno.json` has. */
export const TEST_TASKS = {
  all: testTask("test", "run all tests; integration tests start real servers on free ports", [
    "unit",
    "int",
  ]),
  unit: testTask("test:unit", "run the tests that start no servers", ["unit"]),
  int: testTask("test:int", "run the tests against real servers on free ports", ["int"]),
  ok: command({
    name: "ok",
    summary: "run what CI runs: types, lint, format and all tests",
    examples: [{ args: [] }],
    run: async () => await runChecks() || await runTests(["unit", "int"], []),
  }),
} as const satisfies Readonly<Record<string, Command>>;

if (import.meta.main) {
  const [given = "all"] = Deno.args;
  const task = Object.entries(TEST_TASKS).find(([name]) => name === given)?.[1];
  if (!task) throw new Error(`expected one of ${Object.keys(TEST_TASKS).join(", ")}`);
  await main(task, Deno.args.slice(1));
}

function testTask(name: string, summary: string, kinds: readonly TestKind[]): Command {
  return command({
    name,
    summary,
    details:
      "Prints the slowest tests and files. Exits with 1 when a test fails or the run does not finish.",
    positionals: [{
      name: "path",
      about: "file or folder whose tests to run",
      parser: text(1_000),
      absent: "all tests",
      variadic: true,
    }],
    examples: [{ args: [] }, { args: ["royalty"] }],
    run: ({ path: paths }) => runTests(kinds, paths),
  });
}

/** The checks of `deno task check`; returns their exit code. */
async function runChecks(): Promise<number> {
  const { code } = await new Deno.Command(Deno.execPath(), { args: ["task", "check"], cwd: ROOT })
    .spawn().status;
  return code;
}

async function runTests(kinds: readonly TestKind[], paths: readonly string[]): Promise<number> {
  // Ctrl-C reaches the tests, too; this process stays to remove their folder and to report.
  const stop = new AbortController();
  Deno.addSignalListener("SIGINT", () => stop.abort());
  const files = await Promise.all(kinds.map((kind) => testFiles(kind, paths)));
  if (files.flat().length === 0) throw new Misuse(`no such tests: ${paths.join(", ")}`);
  const runs: TestRun[] = [];
  for (const [i, kind] of kinds.entries()) {
    runs.push(...await runAll(batchesOf(kind, files[i] ?? []), stop.signal));
  }
  return conclude(runs.flatMap(({ cases }) => cases), runs.every(({ isComplete }) => isComplete));
}

/** The test files of a kind at or below `paths`; all files when `paths` is empty. */
async function testFiles(kind: TestKind, paths: readonly string[]): Promise<string[]> {
  const wanted = paths.map((path) => path.replace(/^\.\//, "").replace(/\/$/, ""));
  return (await filesBelow("")).filter((path) => path.endsWith("_test.ts"))
    .filter((path) => path.endsWith("_int_test.ts") === (kind === "int"))
    .filter((path) =>
      wanted.length === 0 || wanted.some((each) => path === each || path.startsWith(`${each}/`))
    );
}

/**
 * What one process of Deno runs: all unit tests, because it starts for longer than most of them
 * take; one file of integration tests, because Deno gives files an order of its own.
 */
function batchesOf(kind: TestKind, files: readonly string[]): readonly (readonly string[])[] {
  if (kind === "unit") return files.length === 0 ? [] : [files];
  const isFirst = new Set(START_FIRST.filter((path) => files.includes(path)));
  return [...isFirst, ...files.filter((path) => !isFirst.has(path))].map((path) => [path]);
}

/** Runs batches in their order, {@link JOBS} at a time; starts no more once `stop` is aborted. */
async function runAll(
  batches: readonly (readonly string[])[],
  stop: AbortSignal,
): Promise<TestRun[]> {
  const folder = await Deno.makeTempDir({ prefix: "twofold-tests-" });
  // Postgres runs as another user when this process is root.
  await Deno.chmod(folder, 0o755);
  const runs: TestRun[] = [];
  const waiting = batches.entries();
  const output = batches.length > 1 ? "piped" : "inherit";
  const work = async () => {
    for (const [i, files] of waiting) {
      if (stop.aborted) runs.push({ cases: [], isComplete: false });
      else runs.push(await runBatch(files, { folder, report: `${folder}/${i}.xml`, output }));
    }
  };
  try {
    await Promise.all(Array.from({ length: JOBS }, work));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  return runs;
}

/** Runs files in a process of their own; output that is piped is printed at the end, in one piece. */
async function runBatch(
  files: readonly string[],
  { folder, report, output }: {
    readonly folder: string;
    readonly report: string;
    readonly output: "piped" | "inherit";
  },
): Promise<TestRun> {
  const flags = ["-A", "--no-check", "--quiet", "--parallel", `--junit-path=${report}`];
  const process = new Deno.Command(Deno.execPath(), {
    args: ["test", ...flags, ...files],
    // See servers/postgres_server.ts.
    env: { DENO_JOBS: String(JOBS), TWOFOLD_POSTGRES_TEMPLATE: folder },
    stdout: output,
    stderr: output,
  }).spawn();
  if (output === "piped") {
    const { stdout, stderr } = await process.output();
    for (const bytes of [stdout, stderr]) console.log(new TextDecoder().decode(bytes).trim());
  }
  const { code } = await process.status;
  // A process that crashed has written none.
  const cases = casesOf(await Deno.readTextFile(report).catch(() => ""));
  const isComplete = code === 0 || cases.some(({ hasFailed }) => hasFailed);
  if (!isComplete) console.log(`did not finish, exit code ${code}: ${files.join(" ")}`);
  return { cases, isComplete };
}

/** The tests of a JUnit report of Deno; the steps of a test are part of it. */
export function casesOf(xml: string): TestCase[] {
  const found = xml.matchAll(
    /<testcase name="([^"]*)" classname="([^"]*)" time="([^"]*)"[^>]*?(\/>|>[\s\S]*?<\/testcase>)/g,
  );
  const cases = [...found].map(([, name = "", file = "", seconds = "0", body = ""]) => ({
    file: decoded(file).replace(/^\.\//, ""),
    name: decoded(name),
    seconds: Number(seconds),
    hasFailed: /<(failure|error)\b/.test(body),
  }));
  // A step is reported as a case named `test > step`.
  const names = new Set(cases.map(({ file, name }) => `${file} ${name}`));
  const isStep = ({ file, name }: TestCase) =>
    name.split(" > ").some((_, at, parts) =>
      at > 0 && names.has(`${file} ${parts.slice(0, at).join(" > ")}`)
    );
  return cases.filter((each) => !isStep(each));
}

function decoded(text: string): string {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'").replaceAll("&#39;", "'").replaceAll("&amp;", "&");
}

/** Prints the slowest tests and files, the failures and the sums; returns the exit code. */
function conclude(cases: readonly TestCase[], isComplete: boolean): number {
  const files = [...Map.groupBy(cases, ({ file }) => file)].map(([file, each]) => ({
    file,
    name: `${each.length} tests`,
    seconds: each.reduce((sum, { seconds }) => sum + seconds, 0),
  }));
  printSlowest("tests", cases);
  printSlowest("files", files);
  const failed = cases.filter(({ hasFailed }) => hasFailed);
  for (const { file, name } of failed) console.log(`failed: ${file}: ${name}`);
  if (!isComplete) console.log("the test run did not finish");
  console.log(`${cases.length - failed.length} passed, ${failed.length} failed`);
  return isComplete && failed.length === 0 && cases.length > 0 ? 0 : 1;
}

function printSlowest(what: string, all: readonly Omit<TestCase, "hasFailed">[]): void {
  const slowest = [...all].sort((a, b) => b.seconds - a.seconds).slice(0, SLOWEST);
  const rows = slowest.map(({ seconds, file, name }) => [`${seconds.toFixed(1)} s`, file, name]);
  const table = renderTable([right("time"), left("file"), left("test", 80)], rows);
  console.log(`\nSlowest ${what}:\n${table}\n`);
}
