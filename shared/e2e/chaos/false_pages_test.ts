import { assertEquals, assertStringIncludes } from "@std/assert";
import { falsePagesLine, type IncidentSaid } from "./false_pages.ts";

const START_MS = 1_800_000_000_000;
const INCIDENT = { cdn: "cdn-b", region: "de", beginMs: 10_000, endMs: 45_000 };
const SAID: IncidentSaid = {
  signal: "rebuffer",
  cell: { kind: "region_cdn", region: "de", cdn: "cdn-b" },
  opened_at: START_MS + 14_000,
  summary: "CDN cdn-b in de: 41 of 53 viewers stall",
};

function isFalse(page: Partial<IncidentSaid>): boolean {
  return !falsePagesLine([{ ...SAID, ...page }], [INCIDENT], START_MS).ok;
}

Deno.test("a page about viewers of a failing CDN, under any name, is true while they stall", () => {
  assertEquals(isFalse({}), false);
  assertEquals(isFalse({ cell: { kind: "all" } }), false);
  assertEquals(isFalse({ cell: { kind: "region", region: "de" } }), false);
  assertEquals(isFalse({ cell: { kind: "title_region", region: "de", title: "t" } }), false);
  // What they stalled is seen for a minute.
  assertEquals(isFalse({ opened_at: START_MS + 80_000 }), false);
});

Deno.test("a page about others, of another time, or of what cannot have happened is false", () => {
  assertEquals(isFalse({ cell: { kind: "region_cdn", region: "de", cdn: "cdn-a" } }), true);
  assertEquals(isFalse({ cell: { kind: "region", region: "jp" } }), true);
  assertEquals(isFalse({ opened_at: START_MS + 9_000 }), true);
  assertEquals(isFalse({ opened_at: START_MS + 106_000 }), true);
  assertEquals(isFalse({ signal: "silent" }), true);
  assertEquals(isFalse({ signal: "start" }), true);
});

Deno.test("the line counts the false pages and says their sentences", () => {
  const { found, ok } = falsePagesLine(
    [SAID, { ...SAID, signal: "silent", summary: "viewers of de have gone silent" }],
    [INCIDENT],
    START_MS,
  );
  assertEquals(ok, false);
  assertStringIncludes(found, "1; at 14.0 s: viewers of de have gone silent");
  assertEquals(falsePagesLine([SAID], [INCIDENT], START_MS).found, "0");
});
