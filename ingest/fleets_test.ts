import { assertEquals } from "@std/assert";
import { FleetKeys, FleetLimits } from "./fleets.ts";

Deno.test("a key belongs to its fleet, and to no other", () => {
  const keys = new FleetKeys(new Map([["tv", "k".repeat(16)], ["web", "w".repeat(20)]]));
  assertEquals(keys.fleetOf("k".repeat(16)), "tv");
  assertEquals(keys.fleetOf("w".repeat(20)), "web");
  for (const wrong of ["", "k", "k".repeat(15), "k".repeat(17), "w".repeat(16), "é".repeat(8)]) {
    assertEquals(keys.fleetOf(wrong), undefined, wrong);
  }
});

Deno.test("a fleet's burst is spent, refills at its rate, and is its own", () => {
  const limits = new FleetLimits(1000, 2000);
  assertEquals(limits.take("tv", 2000, 0), 0);
  assertEquals(limits.take("tv", 500, 0), 500);
  assertEquals(limits.take("web", 2000, 0), 0);
  assertEquals(limits.take("tv", 500, 499), 1);
  assertEquals(limits.take("tv", 500, 500), 0);
  assertEquals(limits.take("tv", 2000, 60_000), 0, "idle time fills no more than the burst");
  assertEquals(limits.take("tv", 1, 60_000), 1);
  assertEquals(limits.take("tv", 1, 0), 1, "a clock that steps back gives nothing");
});

Deno.test("no rate is no limit", () => {
  const limits = new FleetLimits(0, 1);
  assertEquals(limits.take("tv", 1_000_000, 0), 0);
});
