import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { RetryAfter, Stop } from "./errors.ts";
import { Log } from "./log.ts";
import { pause, untilReady } from "./retry.ts";

Deno.test("untilReady retries after RetryAfter only", async () => {
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
  // No sleep: an hour that the abort ends.
  const paused = pause(3_600_000, abort.signal);
  abort.abort(new Error("enough"));
  await paused;
  const error = await assertRejects(() => waiting, Error);
  assertStringIncludes(error.message, "enough");
  // No sleep: an hour that the abort ends.
  await pause(3_600_000, abort.signal);
});
