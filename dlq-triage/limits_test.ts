import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { quarantineAlertSchema } from "../shared/contract/alert.ts";
import { propertyRandom } from "../shared/dev/testing/random.ts";
import { actionOn, alertOf, type Limit } from "./limits.ts";

const LIMIT: Limit = { measure: "growth_per_minute", opensAbove: 100, resolvesBelow: 80 };

Deno.test("an alert opens above the limit and resolves below the lower threshold", () => {
  const table: [isOpen: boolean, value: number, expected: string][] = [
    [false, 0, "keep"],
    [false, 100, "keep"],
    [false, 101, "open"],
    [true, 101, "keep"],
    [true, 100, "keep"],
    [true, 80, "keep"],
    [true, 79, "resolve"],
    [true, 0, "resolve"],
  ];
  for (const [isOpen, value, expected] of table) {
    assertEquals(actionOn(LIMIT, isOpen, value), expected, `${isOpen} ${value}`);
  }
});

Deno.test("opens and resolves alternate, whatever the values", () => {
  const random = propertyRandom("limits alternate");
  let isOpen = false;
  let value = 0;
  for (let i = 0; i < 10_000; i++) {
    value = Math.max(0, value + random.int(-30, 30));
    const action = actionOn(LIMIT, isOpen, value);
    if (action === "open") assert(!isOpen && value > LIMIT.opensAbove);
    if (action === "resolve") assert(isOpen && value < LIMIT.resolvesBelow);
    if (action !== "keep") isOpen = action === "open";
    if (value > LIMIT.opensAbove) assert(isOpen, "above the limit and not open");
    if (value < LIMIT.resolvesBelow) assert(!isOpen, "below the threshold and still open");
  }
});

Deno.test("an alert matches the schema, names the largest group and the command that shows it", () => {
  const incident = { incidentId: "i-1", measure: LIMIT.measure, openedAtMs: 1_000 };
  const largest = {
    groupId: "0123456789ab",
    reason: "malformed",
    path: "$.ts",
    build: "9.2",
    entries: 90,
  };
  const open = quarantineAlertSchema.parse(alertOf(incident, "open", LIMIT, 120, 1_000, largest));
  assertEquals([open.severity, open.reason, open.value, open.limit], ["page", "all", 120, 100]);
  assertStringIncludes(open.summary, "malformed at $.ts from build 9.2");
  assertStringIncludes(open.summary, "deno task triage show 0123456789ab");

  const resolved = quarantineAlertSchema.parse(alertOf(incident, "resolved", LIMIT, 3, 9_000));
  assertEquals([resolved.incident_id, resolved.opened_at, resolved.at], ["i-1", 1_000, 9_000]);
});
