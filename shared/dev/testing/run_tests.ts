/**
 * `deno task test [PATH …]`, `test:unit`, `test:int`: runs tests and prints the slowest ones. `deno
 * task ok` runs the checks of `deno task check` before all tests.
 *
 * Unit tests are the `_test.ts` files that start no server; integration tests (`_int_test.ts`) run
 * against real servers on free ports. Unit tests run first. Two files run at a time.
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
const JOBS = 3;
const SLOWEST = 10;

type TestKind = "unit" | "int";

/** One test of the report. */
interface TestCase {
  readonly file: string;
  readonly name: string;
  readonly seconds: number;
  readonly hasFailed: boolean;
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
    details: "Prints the slowest tests. Exits with 1 when a test fails or the run does not finish.",
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
  Deno.addSignalListener("SIGINT", () => {});
  const files = await Promise.all(kinds.map((kind) => testFiles(kind, paths)));
  if (files.flat().length === 0) throw new Misuse(`no such tests: ${paths.join(", ")}`);
  const cases: TestCase[] = [];
  let isComplete = true;
  for (const ofKind of files) {
    if (ofKind.length === 0) continue;
    const run = await runFiles(ofKind);
    cases.push(...run.cases);
    isComplete &&= run.isComplete;
  }
  return conclude(cases, isComplete);
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

async function runFiles(
  files: readonly string[],
): Promise<{ readonly cases: TestCase[]; readonly isComplete: boolean }> {
  const folder = await Deno.makeTempDir({ prefix: "twofold-tests-" });
  // Postgres runs as another user when this process is root.
  await Deno.chmod(folder, 0o755);
  const report = `${folder}/report.xml`;
  try {
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: [
        "test",
        "-A",
        "--no-check",
        "--quiet",
        "--parallel",
        `--junit-path=${report}`,
        ...files,
      ],
      // See servers/postgres_server.ts.
      env: { DENO_JOBS: String(JOBS), TWOFOLD_POSTGRES_TEMPLATE: folder },
    }).spawn().status;
    const cases = casesOf(await Deno.readTextFile(report));
    const isComplete = code === 0 || cases.some(({ hasFailed }) => hasFailed);
    return { cases, isComplete };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
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

/** Prints the slowest tests and the sums; returns the exit code. */
function conclude(cases: readonly TestCase[], isComplete: boolean): number {
  const slowest = [...cases].sort((a, b) => b.seconds - a.seconds).slice(0, SLOWEST);
  const rows = slowest.map(({ seconds, file, name }) => [`${seconds.toFixed(1)} s`, file, name]);
  console.log(
    `\nSlowest tests:\n${renderTable([right("time"), left("file"), left("test", 80)], rows)}\n`,
  );
  const failed = cases.filter(({ hasFailed }) => hasFailed).length;
  if (!isComplete) console.log("the test run did not finish");
  console.log(`${cases.length - failed} passed, ${failed} failed`);
  return isComplete && failed === 0 && cases.length > 0 ? 0 : 1;
}
