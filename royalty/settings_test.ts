import { assertEquals, assertThrows } from "@std/assert";
import { readSettings } from "../shared/process/config.ts";
import { Stop } from "../shared/process/errors.ts";
import { countedSettings, countedStreams } from "./settings.ts";

function streamsOf(partitions: number, counted?: string): string[] {
  const settings = readSettings(countedSettings, { TWOFOLD_ROYALTY_PARTITIONS: counted });
  return countedStreams({ ...settings, TWOFOLD_PARTITIONS: partitions });
}

Deno.test("every stream is counted by default; TWOFOLD_ROYALTY_PARTITIONS selects some", () => {
  assertEquals(streamsOf(1), ["HEARTBEATS"]);
  assertEquals(streamsOf(2), ["HEARTBEATS_0", "HEARTBEATS_1"]);
  assertEquals(streamsOf(4, "3,1"), ["HEARTBEATS_1", "HEARTBEATS_3"]);
});

Deno.test("an unknown partition or a malformed list stops the start", () => {
  assertThrows(() => streamsOf(4, "4"), Stop, "names 4, but there are 4 partitions");
  for (const wrong of [" ", "a", "1,", "-1", "1 2"]) {
    assertThrows(() => streamsOf(4, wrong), Stop, "expected partitions such as 0,2");
  }
});
