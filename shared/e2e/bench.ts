/**
 * `deno task bench [ingest|live|royalty|pipeline] …`: figures, and ratios to a floor measured in
 * the same run.
 *
 * @module
 */
import { command } from "../process/cli/command.ts";
import { matching, oneOf } from "../process/cli/parsers.ts";
import { main } from "../process/cli/run.ts";

/** The program of each bench. */
const BENCHES = {
  ingest: "ingest/ingest_bench.ts",
  live: "live/watch/live_bench.ts",
  royalty: "royalty/posting/posting_bench.ts",
  pipeline: "shared/e2e/pipeline_bench.ts",
};
const ROOT = new URL("../../", import.meta.url);

/** `deno task bench`. */
export const benchTask = command({
  name: "bench",
  summary: "figures, and ratios to a floor measured in the same run",
  details: "Every bench runs in a process of its own. Its arguments are documented in its file: " +
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
      about: "arguments of the bench, such as a number of events",
      parser: matching(/./s, "an argument"),
      variadic: true,
    },
  ],
  examples: [{ args: [] }, { args: ["live", "200000"] }],
  async run({ bench, arguments: args }, io) {
    for (const [name, program] of Object.entries(BENCHES)) {
      if (bench !== undefined && name !== bench) continue;
      io.out.line(`\n== ${name}`);
      const code = await runBench(program, args);
      if (code !== 0) return code;
    }
    return 0;
  },
});

if (import.meta.main) await main(benchTask);

// In a process of its own, because a benchmark must not start with the heap of another.
async function runBench(program: string, args: readonly string[]): Promise<number> {
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "-A", new URL(program, ROOT).pathname, ...args],
    cwd: ROOT.pathname,
  }).spawn().status;
  return code;
}
