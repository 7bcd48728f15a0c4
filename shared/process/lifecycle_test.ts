import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { waitFor } from "../dev/testing/wait_for.ts";
import { RetryAfter, Stop } from "./errors.ts";
import { pause, untilReady } from "./lifecycle.ts";
import { Log } from "./log.ts";

const MODULES = ["lifecycle.ts", "log.ts", "errors.ts"].map((file) =>
  new URL(file, import.meta.url).href
);

/** Runs a service whose `start` is `body`; `signal` is sent once it has logged "up". */
async function runProgram(
  body: string,
  signal?: Deno.Signal,
): Promise<{ code: number; log: string[] }> {
  const program = `
    import { runService } from "${MODULES[0]}";
    import { Log } from "${MODULES[1]}";
    import { Stop } from "${MODULES[2]}";
    const log = new Log("test");
    await runService(log, async (life) => { ${body} });`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-config", program],
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const lines: string[] = [];
  const reading = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      lines.push(...text.split("\n").filter((line) => line.startsWith("{")));
    }
  })();
  if (signal) {
    await waitFor("the service to be up", () => lines.some((line) => line.includes('"up"')));
    child.kill(signal);
  }
  const { code } = await child.status;
  await reading;
  return { code, log: lines.map((line) => JSON.parse(line).message) };
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`${signal} runs the stop steps, the last first, and exits 0`, async () => {
    const { code, log } = await runProgram(
      `life.onStop("a", () => log.info("stop a"));
       life.onStop("b", async () => { await 1; log.info("stop b"); throw new Error("broken"); });
       life.onStop("c", () => log.info("stop c"));
       log.info("up");`,
      signal,
    );
    assertEquals(code, 0);
    assertEquals(log, ["up", "stop c", "stop b", "stop step b failed", "stop a", "stopped"]);
  });
}

Deno.test("a signal ends a service whose start hangs", async () => {
  const { code, log } = await runProgram(
    `life.onStop("a", () => log.info("stop a"));
     log.info("up");
     await new Promise((resolve) => setTimeout(resolve, 60_000));`,
    "SIGTERM",
  );
  assertEquals([code, ...log], [0, "up", "stop a", "stopped"]);
});

Deno.test("a failure runs the stop steps and exits 1, or as its Stop says", async () => {
  const step = `life.onStop("a", () => log.info("stop a"));`;
  const failures: [body: string, code: number][] = [
    [`throw new Error("at start");`, 1],
    [`throw new Stop("wrong settings", { exitCode: 2 });`, 2],
    [`setTimeout(() => life.fail(new Error("later")), 10);`, 1],
    [`setTimeout(() => Promise.reject(new Error("nobody awaits")), 10);`, 1],
  ];
  for (const [body, expected] of failures) {
    const { code, log } = await runProgram(step + body);
    assertEquals([code, ...log], [expected, "stopping", "stop a", "stopped"], body);
  }
});

Deno.test("untilReady tries again after RetryAfter, and only then", async () => {
  const log = new Log("test", "error");
  const { signal } = new AbortController();
  let tries = 0;
  const value = await untilReady(signal, log, () => {
    tries += 1;
    return tries < 3 ? Promise.reject(new RetryAfter("not yet", 1)) : Promise.resolve("ready");
  });
  assertEquals([value, tries], ["ready", 3]);
  await assertRejects(
    () => untilReady(signal, log, () => Promise.reject(new Stop("no"))),
    Stop,
    "no",
  );
});

Deno.test("an abort ends waiting at once", async () => {
  const log = new Log("test", "error");
  const abort = new AbortController();
  const waiting = untilReady(
    abort.signal,
    log,
    () => Promise.reject(new RetryAfter("not yet", 3_600_000)),
  );
  const paused = pause(3_600_000, abort.signal);
  abort.abort(new Error("enough"));
  await paused;
  const error = await assertRejects(() => waiting, Error);
  assertStringIncludes(error.message, "enough");
  await pause(3_600_000, abort.signal);
});
