import { assertEquals } from "@std/assert";
import { FleetLimits } from "./fleets.ts";

Deno.test("each fleet has its own burst, which refills at the rate", () => {
  const limits = new FleetLimits(1000, 2000);
  assertEquals(limits.take("tv", 2000, 0), 0);
  assertEquals(limits.take("tv", 500, 0), 500);
  assertEquals(limits.take("web", 2000, 0), 0);
  assertEquals(limits.take("tv", 500, 499), 1);
  assertEquals(limits.take("tv", 500, 500), 0);
  assertEquals(limits.take("tv", 2000, 60_000), 0, "idle time fills no more than the burst");
  assertEquals(limits.take("tv", 1, 60_000), 1);
  assertEquals(limits.take("tv", 1, 0), 1, "a clock that goes back adds no tokens");
});

Deno.test("a rate of 0 means no limit", () => {
  const limits = new FleetLimits(0, 1);
  assertEquals(limits.take("tv", 1_000_000, 0), 0);
});
