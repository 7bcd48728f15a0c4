import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { runCommand } from "../../dev/testing/child_process.ts";
import { Workspace } from "../../dev/servers/workspace.ts";

const LOAD = new URL("./load.ts", import.meta.url).pathname;
const SHORT = ["--rate", "500", "--minutes", "0.17", "--titles", "200", "--regions", "10"];
const OF_TIME = ["sent within 1 s of when due", "device to alert, p99"];

Deno.test("single posts on connections of their own are in the books to the ms", async () => {
  const result = await loadResult(["--per-post", "1", "--connections", "100"]);
  assertEquals(result.shape.per_post, 1);
  assert(result.figures.latency.p99_ms >= result.figures.service.p50_ms, "latency from due times");
});

Deno.test("a premiere in posts of 20 has its course in the report and its panels in the plot", async () => {
  await using workspace = await Workspace.temporary();
  const [report, plot] = [`${workspace.folder}/load.json`, `${workspace.folder}/load.svg`];
  await loadResult([
    "--per-post",
    "20",
    "--profile",
    "premiere",
    "--report",
    report,
    "--plot",
    plot,
  ]);
  const { course } = JSON.parse(await Deno.readTextFile(report));
  const due = course.seconds.map((each: { due: number }) => each.due);
  assertEquals([due[1], due[5]], [100, 500], `a step to five times the rate: ${due}`);
  const last = course.samples.at(-1);
  for (const name of ["ingest", "royalty", "nats-server", "postgres", "generator"]) {
    assert(name in last.cores, `the CPU of ${name} is in the samples`);
  }
  assert(last.wal_bytes > 0 && last.stream_bytes > 0, "disk and WAL are in the samples");
  const svg = await Deno.readTextFile(plot);
  for (const title of ["heartbeats a second", "device to alert, s", "bytes an event"]) {
    assertStringIncludes(svg, title);
  }
});

async function loadResult(args: readonly string[]) {
  const { code, out, err } = await runCommand(Deno.execPath(), [
    ...["run", "--quiet", "-A", LOAD, ...SHORT, ...args, "--json"],
  ]);
  const result = JSON.parse(out || assertNoResult(err));
  assertEquals(code, result.ok ? 0 : 1);
  // Other tests share the machine, so what is about time is not judged here.
  const judged = result.checks.filter(({ name }: { name: string }) => !OF_TIME.includes(name));
  assertEquals(judged.filter(({ ok }: { ok: boolean }) => !ok), [], err);
  assert(judged.length >= 5, "the verdict is about the books");
  return result;
}

function assertNoResult(err: string): never {
  throw new Error(`there is no result: ${err}`);
}
