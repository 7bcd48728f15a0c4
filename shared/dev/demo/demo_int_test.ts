import { assert, assertEquals, assertNotEquals, assertStringIncludes } from "@std/assert";
import { ChildProcess, isAlive, runCommand } from "../testing/child_process.ts";
import { processTree } from "../testing/measure.ts";
import { waitFor } from "../testing/wait_for.ts";

const DEMO = new URL("./demo.ts", import.meta.url).pathname;

Deno.test("every check of the demo passes", async () => {
  const report = await Deno.makeTempFile();
  const { code, out: text } = await runCommand(
    Deno.execPath(),
    ["run", "--quiet", "-A", DEMO, "--seed", "11", "--report", report],
  );
  assertEquals(code, 0, text);
  assertStringIncludes(text, "verdict: ok");
  const { verdict, accounting } = JSON.parse(await Deno.readTextFile(report));
  await Deno.remove(report);
  assert(verdict.ok);
  assert(accounting.duplicates > 0, "some retries came after the duplicate window");
  assert(accounting.quarantined > 0, "a bad build was in the traffic");
});

Deno.test("Ctrl-C ends the demo and all processes that it started", async () => {
  await using demo = new ChildProcess(Deno.execPath(), ["run", "--quiet", "-A", DEMO]);
  await waitFor("the demo to send", () => demo.out.includes("sending heartbeats"), {
    timeoutMs: 60_000,
  });
  const [, ...started] = processTree(demo.pid);
  assert(started.length >= 6, `two servers and services: ${started}`);
  assertNotEquals(await demo.stop("SIGINT"), 0);
  await waitFor("its processes to end", () => !started.some(isAlive));
});
