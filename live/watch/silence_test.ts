import { assertEquals } from "@std/assert";
import { SilenceDetector } from "./silence.ts";

Deno.test("silence opens once when heartbeats stop and resolves once when they resume", () => {
  const silence = new SilenceDetector(30_000);
  silence.heartbeatSeen(1_000);
  assertEquals(silence.check(30_999), undefined);
  assertEquals(silence.check(31_000), "opened");
  assertEquals(silence.check(90_000), undefined);
  silence.heartbeatSeen(90_500);
  assertEquals(silence.check(91_000), "resolved");
  assertEquals(silence.check(92_000), undefined);
});

Deno.test("a stream that never had a heartbeat is not silent", () => {
  assertEquals(new SilenceDetector(30_000).check(1e9), undefined);
});

Deno.test("silence that an earlier process reported continues until a heartbeat arrives", () => {
  const silence = new SilenceDetector(30_000, true);
  assertEquals(silence.check(1e9), undefined);
  silence.heartbeatSeen(1e9);
  assertEquals(silence.check(1e9), "resolved");
});
