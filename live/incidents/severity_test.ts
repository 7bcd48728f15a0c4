import { assertEquals } from "@std/assert";
import { severityOf, worse } from "./severity.ts";

Deno.test("severity follows viewers, share above what is usual, and duration", () => {
  const cases: [impaired: number, watching: number, lastedS: number, expected: string][] = [
    [4, 10, 3, "critical"],
    [20, 50, 10, "critical"],
    [3, 10, 3, "info"],
    [16, 200, 19, "info"],
    [16, 200, 20, "warning"],
    [60, 500, 5, "critical"],
    [49, 400, 5, "info"],
    [600, 10_000, 5, "critical"],
    [60, 10_000, 899, "warning"],
    [60, 10_000, 900, "critical"],
  ];
  for (const [impaired, watching, lastedS, expected] of cases) {
    const measured = { impaired, share: impaired / watching, baseline: 0.01 };
    assertEquals(severityOf("rebuffer", measured, lastedS * 1_000), expected, `${impaired}`);
  }
});

Deno.test("what is usual is not held against a region", () => {
  assertEquals(severityOf("rebuffer", { impaired: 30, share: 0.3, baseline: 0.15 }, 0), "info");
  assertEquals(severityOf("rebuffer", { impaired: 40, share: 0.4, baseline: 0.15 }, 0), "critical");
});

Deno.test("a vanished audience is no blip", () => {
  assertEquals(severityOf("silent", { impaired: 3, share: 0.1, baseline: 0 }, 0), "warning");
});

Deno.test("the worse of two severities", () => {
  assertEquals(worse("info", "warning"), "warning");
  assertEquals(worse("critical", "warning"), "critical");
});
