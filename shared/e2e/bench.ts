/**
 * `deno task bench [ingest|live|royalty|pipeline] …`: figures and ratios, each measured against a
 * floor in the same run.
 *
 * @module
 */

const BENCHES: Readonly<Record<string, string>> = {
  ingest: "ingest/ingest_bench.ts",
  live: "live/watch/live_bench.ts",
  royalty: "royalty/posting/posting_bench.ts",
  pipeline: "shared/e2e/pipeline_bench.ts",
};
const ROOT = new URL("../../", import.meta.url);

if (import.meta.main) {
  const [only, ...args] = Deno.args;
  if (only !== undefined && !(only in BENCHES)) {
    console.error(`usage: deno task bench [${Object.keys(BENCHES).join("|")}] [its arguments]`);
    Deno.exit(2);
  }
  // Each in a process of its own: a benchmark must not inherit another's warm heap.
  for (const name of only === undefined ? Object.keys(BENCHES) : [only]) {
    console.log(`\n== ${name}`);
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "-A", new URL(BENCHES[name], ROOT).pathname, ...args],
      cwd: ROOT.pathname,
    }).spawn().status;
    if (code !== 0) Deno.exit(code);
  }
}
