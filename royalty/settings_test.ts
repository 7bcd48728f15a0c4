import { assert, assertEquals, assertThrows } from "@std/assert";
import { natsSettings, readSettings } from "../shared/process/config.ts";
import { Stop } from "../shared/process/errors.ts";
import { runCommand } from "../shared/dev/testing/child_process.ts";
import { countedRule, countedSettings, countedStreams } from "./settings.ts";

const NATS = { TWOFOLD_NATS_USER: "royalty", TWOFOLD_NATS_PASSWORD: "secret-1" };

function streamsOf(partitions: number, counted?: string): string[] {
  const env = {
    ...NATS,
    TWOFOLD_PARTITIONS: String(partitions),
    TWOFOLD_ROYALTY_PARTITIONS: counted,
  };
  return countedStreams(readSettings({ ...natsSettings, ...countedSettings }, env, countedRule));
}

Deno.test("every stream is counted by default; TWOFOLD_ROYALTY_PARTITIONS selects some", () => {
  assertEquals(streamsOf(1), ["HEARTBEATS"]);
  assertEquals(streamsOf(2), ["HEARTBEATS_0", "HEARTBEATS_1"]);
  assertEquals(streamsOf(4, "3,1"), ["HEARTBEATS_1", "HEARTBEATS_3"]);
});

Deno.test("an unknown partition or a malformed list stops the start", () => {
  assertThrows(() => streamsOf(4, "3,4"), Stop, "names 4, but TWOFOLD_PARTITIONS is 4");
  for (const wrong of [" ", "a", "1,", "-1", "1 2"]) {
    assertThrows(() => streamsOf(4, wrong), Stop, "expected partitions such as 0,2");
  }
});

Deno.test("the process refuses all wrong settings together, before it listens", async () => {
  const { code, err } = await runCommand(Deno.execPath(), [
    ...["run", "--quiet", "--no-prompt", "--allow-env=TWOFOLD_*,PG*", "--allow-net=127.0.0.1"],
    new URL("main.ts", import.meta.url).pathname,
  ], {
    env: {
      ...NATS,
      TWOFOLD_NATS_URL: "me:secret-2@localhost:4222",
      TWOFOLD_POSTGRES_URL: "postgres://royalty:secret-3@127.0.0.1:notaport/twofold",
      TWOFOLD_FINANCE_KEYS: "reader:secret-4-of-16-characters",
      TWOFOLD_ROYALTY_PARTITIONS: "0,1",
      TWOFOLD_HTTP_PORT: "0",
      TWOFOLD_DRAIN_MS: "soon",
    },
  });
  assertEquals(code, 2, err);
  const [failed, stopped, ...more] = err.trim().split("\n").map((line) => JSON.parse(line));
  assertEquals([failed.event, stopped.event, more], ["service.failed", "service.stopped", []]);
  assertEquals(failed.stack, undefined);
  assert(!err.includes("secret"), err);
  const [, ...lines] = String(failed.error).split("\n");
  assertEquals(lines.map((line) => line.trim().split(":")[0]).sort(), [
    "TWOFOLD_DRAIN_MS",
    "TWOFOLD_FINANCE_POSTGRES_URL",
    "TWOFOLD_ISSUER_POSTGRES_URL",
    "TWOFOLD_NATS_URL",
    "TWOFOLD_POSTGRES_URL",
    "TWOFOLD_ROYALTY_PARTITIONS",
  ]);
});
