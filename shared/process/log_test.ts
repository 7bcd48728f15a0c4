import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { runCommand } from "../dev/testing/child_process.ts";
import { LOG_EVENTS } from "./log_events.ts";

const MODULE = import.meta.resolve("./log.ts");
const ERRORS = import.meta.resolve("./errors.ts");

/** The lines that `body` logs in a separate process. */
async function linesOf(body: string): Promise<Record<string, unknown>[]> {
  const { err } = await runCommand(Deno.execPath(), [
    "eval",
    `import { Log } from "${MODULE}"; import { RetryAfter } from "${ERRORS}"; ${body}`,
  ]);
  return err.trim().split("\n").map((line) => JSON.parse(line));
}

Deno.test("a line has the event, its text and the fields", async () => {
  const [line, ...more] = await linesOf(`
    const log = new Log("royalty", "info");
    log.debug("service.ready");
    log.warn("royalty.posting.standby", { stream: "HEARTBEATS" });`);
  assertEquals(more, []);
  const { at, message, ...rest } = line ?? {};
  assert(!Number.isNaN(Date.parse(String(at))));
  assertEquals(message, LOG_EVENTS["royalty.posting.standby"]);
  assertEquals(rest, {
    level: "warn",
    service: "royalty",
    event: "royalty.posting.standby",
    stream: "HEARTBEATS",
  });
});

Deno.test("an unexpected error is logged with its stack, an expected one with its message only", async () => {
  const [bug, expected] = await linesOf(`
    const log = new Log("royalty");
    log.error("service.failed", { error: new TypeError("undefined is not a function") });
    log.warn("service.retry", { error: new RetryAfter("Postgres: refused", 500) });`);
  assertEquals(bug?.error, "undefined is not a function");
  assertStringIncludes(String(bug?.stack), "TypeError: undefined is not a function\n    at ");
  assertEquals([expected?.error, expected?.stack], ["Postgres: refused", undefined]);
});
