/**
 * `deno task bench [ingest|links|live|royalty|pipeline|overload|connections|detection] …`: figures and ratios, each measured
 * against a floor or another way in the same run.
 *
 * @module
 */
import { command } from "../process/cli/command.ts";
import { kebab } from "../process/cli/declaration.ts";
import { Misuse } from "../process/cli/misuse.ts";
import { matching, oneOf } from "../process/cli/parsers.ts";
import { main } from "../process/cli/run.ts";
import { DETECTION_OPTIONS } from "./detection/options.ts";

/** The program of each bench. */
const BENCHES = {
  ingest: "ingest/ingest_bench.ts",
  links: "ingest/link_bench.ts",
  live: "live/live_bench.ts",
  royalty: "royalty/posting/posting_bench.ts",
  pipeline: "shared/e2e/pipeline_bench.ts",
  overload: "shared/e2e/overload_bench.ts",
  connections: "shared/e2e/connections_bench.ts",
  detection: "shared/e2e/detection/detection_bench.ts",
};
const ROOT = new URL("../../", import.meta.url);

/** `deno task bench`. */
export const benchTask = command({
  name: "bench",
  summary: "figures and ratios, each measured against a floor in the same run",
  details: "Every bench runs in a process of its own. What each takes is at the top of its file: " +
    `${Object.values(BENCHES).join(", ")}.`,
  positionals: [
    {
      name: "bench",
      about: `one of ${Object.keys(BENCHES).join(", ")}`,
      parser: oneOf(...Object.keys(BENCHES)),
      absent: "all of them",
    },
    {
      name: "arguments",
      about: "the bench's own, such as a number of events",
      parser: matching(/./s, "an argument"),
      variadic: true,
    },
  ],
  options: DETECTION_OPTIONS,
  examples: [
    { args: [] },
    { args: ["live", "200000"] },
    { args: ["detection", "--scenario", "region", "--seeds", "5"] },
  ],
  async run({ bench, arguments: args, ...options }, io) {
    const given = textOf(options);
    if (given.length > 0 && bench !== "detection") {
      throw new Misuse("only the bench detection takes options");
    }
    for (const [name, program] of Object.entries(BENCHES)) {
      if (bench !== undefined && name !== bench) continue;
      if (!options.json) io.out.line(`\n== ${name}`);
      const code = await runBench(program, [...args, ...given]);
      if (code !== 0) return code;
    }
    return 0;
  },
});

if (import.meta.main) await main(benchTask);

/** The options that were given, as a command line. */
function textOf(options: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(options).flatMap(([key, value]) => {
    if (value === undefined || value === false) return [];
    return value === true ? [`--${kebab(key)}`] : [`--${kebab(key)}=${value}`];
  });
}

// In a process of its own: a benchmark must not inherit another's warm heap. It writes to the
// terminal itself, so that its progress is seen.
async function runBench(program: string, args: readonly string[]): Promise<number> {
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", new URL(program, ROOT).pathname, ...args],
    cwd: ROOT.pathname,
  }).spawn().status;
  return code;
}
