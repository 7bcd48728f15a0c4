import { assertEquals } from "@std/assert";
import { Health } from "./health.ts";

Deno.test("a part fails until its first report, and after it reports a failure", () => {
  const health = new Health(() => 0);
  const nats = health.part("nats", "NATS has not answered yet");
  const postgres = health.part("postgres");
  assertEquals(health.notReady, "NATS has not answered yet; postgres is starting");
  nats.works();
  postgres.works();
  assertEquals(health.notReady, undefined);
  nats.fails("NATS is disconnected");
  assertEquals(health.notReady, "NATS is disconnected");
});

Deno.test("a loop that finishes no round is not ready, even if it worked before", () => {
  let now = 0;
  const health = new Health(() => now);
  const posting = health.rounds("posting", 10_000);
  posting.works();
  now = 9_999;
  assertEquals(health.notReady, undefined);
  now = 12_000;
  assertEquals(health.notReady, "posting: no round finished for 12 s");
  posting.finished();
  assertEquals(health.notReady, undefined);
});

Deno.test("a failed round gives its reason, and counts as a round", () => {
  let now = 0;
  const health = new Health(() => now);
  const posting = health.rounds("posting", 10_000);
  now = 60_000;
  posting.fails("Postgres: connection refused");
  assertEquals(health.notReady, "Postgres: connection refused");
});

Deno.test("checks run at every query of readiness", () => {
  const health = new Health(() => 0);
  const state: { reason?: string } = {};
  health.check(() => state.reason);
  assertEquals(health.notReady, undefined);
  state.reason = "HEARTBEATS does not exist";
  assertEquals(health.notReady, "HEARTBEATS does not exist");
});

Deno.test("a stopping service is not ready, whatever the state of its parts", () => {
  const health = new Health(() => 0);
  health.part("nats").works();
  health.stops();
  assertEquals(health.notReady, "stopping");
});

Deno.test("a service is not ready before its start has added every part", () => {
  const health = new Health(() => 0);
  health.starts();
  const nats = health.part("nats", "NATS has not answered yet");
  assertEquals(health.notReady, "NATS has not answered yet");
  nats.works();
  assertEquals(health.notReady, "starting");
  health.started();
  assertEquals(health.notReady, undefined);
  health.stops();
  health.started();
  assertEquals(health.notReady, "stopping");
});

Deno.test("a reason that two parts have is said once", () => {
  const health = new Health();
  health.part("a").fails("NATS is disconnected");
  health.check(() => "NATS is disconnected");
  assertEquals(health.notReady, "NATS is disconnected");
});
