import { assertEquals, assertMatch } from "@std/assert";
import { LagWatch } from "./lag_watch.ts";

const FINE = { stream: "HEARTBEATS", lagMs: 0, skipped: 0, coverage: 1 };

Deno.test("a lag beyond 5 s is told once, and its end once nothing was skipped for 30 s", () => {
  const watch = new LagWatch();
  assertEquals(watch.check({ ...FINE, lagMs: 5_000 }, 0), undefined);
  const opened = watch.check({ ...FINE, lagMs: 5_001, coverage: 0.5 }, 1_000);
  assertEquals([opened?.change, opened?.value], ["opened", 5_001]);
  assertMatch(opened?.summary ?? "", /^live is 5 s behind on HEARTBEATS; it sees 50 %/);
  assertEquals(watch.check({ ...FINE, lagMs: 60_000 }, 2_000), undefined);
  assertEquals(watch.check({ ...FINE, skipped: 700 }, 3_000), undefined);
  assertEquals(watch.check({ ...FINE, skipped: 700 }, 32_999), undefined);
  const resolved = watch.check({ ...FINE, skipped: 700 }, 33_000);
  assertEquals(resolved?.change, "resolved");
  assertMatch(resolved?.summary ?? "", /skipped 700 heartbeats$/);
  assertEquals(watch.check({ ...FINE, skipped: 700 }, 99_000), undefined);
});

Deno.test("a skip is told even if the lag was over before anybody looked", () => {
  const watch = new LagWatch();
  watch.check(FINE, 0);
  const opened = watch.check({ ...FINE, skipped: 1_000_000, coverage: 0.25 }, 1_000);
  assertEquals(opened?.change, "opened");
  assertMatch(opened?.summary ?? "", /skipped 1000000 heartbeats; it sees 25 %/);
});

Deno.test("what another process has told is ended, and not told again", () => {
  const watch = new LagWatch(true);
  assertEquals(watch.check({ ...FINE, lagMs: 9_000 }, 0), undefined);
  assertEquals(watch.check(FINE, 29_999), undefined);
  assertEquals(watch.check(FINE, 30_000)?.change, "resolved");
});
