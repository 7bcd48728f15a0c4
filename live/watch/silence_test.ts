import { assertEquals } from "@std/assert";
import { Silence } from "./silence.ts";

Deno.test("silence opens once after heartbeats stopped and resolves once they are back", () => {
  const silence = new Silence(30_000);
  silence.heard(1_000);
  assertEquals(silence.check(30_999), undefined);
  assertEquals(silence.check(31_000), "opened");
  assertEquals(silence.check(90_000), undefined);
  silence.heard(90_500);
  assertEquals(silence.check(91_000), "resolved");
  assertEquals(silence.check(92_000), undefined);
});

Deno.test("a stream that never had a heartbeat is new, not silent", () => {
  assertEquals(new Silence(30_000).check(1e9), undefined);
});

Deno.test("a silence that an earlier process reported goes on until a heartbeat comes", () => {
  const silence = new Silence(30_000, true);
  assertEquals(silence.check(1e9), undefined);
  silence.heard(1e9);
  assertEquals(silence.check(1e9), "resolved");
});
