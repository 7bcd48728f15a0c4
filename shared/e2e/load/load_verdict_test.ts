import { assertEquals } from "@std/assert";
import { loadChecks, type LoadVerdictInput, statementCells } from "./load_verdict.ts";
import { outcomeOf } from "./outcome.ts";

const TRUTH = [
  { titleId: "title-0", region: "r0", events: 2, ms: 18_000 },
  { titleId: "title-0", region: "r1", events: 1, ms: 9_000 },
  { titleId: "title-0", region: "r0", events: 1, ms: 8_001 },
];
const STATEMENT = [
  { titleId: "title-0", region: "r0", events: 3, ms: 26_001 },
  { titleId: "title-0", region: "r1", events: 1, ms: 9_000 },
];
const GOOD: LoadVerdictInput = {
  outcome: outcomeOf([]),
  generatorCores: 0.1,
  truth: TRUTH,
  statement: STATEMENT,
  unexplained: 0,
  incidents: [{ titleId: "stalling-0", answeredAtMs: 1_000, alertAfterMs: 900 }],
  memory: {},
  judgesMemory: false,
};

Deno.test("a load that is in the statements and was paged in time passes", () => {
  assertEquals(failing(GOOD), []);
});

Deno.test("a millisecond in another region fails, though the totals agree", () => {
  const statement = [
    { titleId: "title-0", region: "r0", events: 3, ms: 26_000 },
    { titleId: "title-0", region: "r1", events: 1, ms: 9_001 },
  ];
  assertEquals(failing({ ...GOOD, statement }), ["titles and regions exact to the ms"]);
});

Deno.test("what is in the statements and was never sent fails", () => {
  const more = { titleId: "title-9", region: "r0", events: 1, ms: 1 };
  assertEquals(failing({ ...GOOD, statement: [...STATEMENT, more] }), [
    "events in the statements",
    "milliseconds in the statements",
    "titles and regions exact to the ms",
  ]);
});

Deno.test("a late alert fails, and so does none", () => {
  const late = [{ titleId: "stalling-0", answeredAtMs: 1_000, alertAfterMs: 5_001 }];
  const none = [{ titleId: "stalling-0", answeredAtMs: 1_000, alertAfterMs: undefined }];
  for (const incidents of [late, none]) {
    assertEquals(failing({ ...GOOD, incidents }), ["device to alert, p99"]);
  }
});

Deno.test("memory is judged only in a long run", () => {
  const course = { startBytes: 1, fullBytes: 1, middleBytes: 2, endBytes: 9 };
  const memory = { live: { ...course, verdict: "growing" as const } };
  assertEquals(failing({ ...GOOD, memory }), []);
  assertEquals(failing({ ...GOOD, memory, judgesMemory: true }), ["memory of live"]);
});

Deno.test("lost and late requests fail, and what limited the rate is said", () => {
  const result = { requests: 100, accepted: 50, lost: 1, unsent: 49, repeated: 0 };
  const outcome = outcomeOf([{ ...result, cells: TRUTH, seconds: [] }]);
  assertEquals(failing({ ...GOOD, outcome }), ["requests lost", "sent within 1 s of when due"]);
  const busy = loadChecks({ ...GOOD, outcome, generatorCores: 0.99 });
  assertEquals(
    busy.find(({ name }) => name === "sent within 1 s of when due")?.found,
    "51.00 %; the generator is busy, 99 % of a core; see --generators",
  );
});

Deno.test("the lines of a statement are read with title, territory, events and milliseconds", () => {
  const csv = "line_type,title_id,territory,events,ms_watched\r\nWATCHED,title-0,r0,3,26001\r\n";
  assertEquals(statementCells(csv), STATEMENT.slice(0, 1));
});

function failing(input: LoadVerdictInput): string[] {
  return loadChecks(input).filter(({ ok }) => !ok).map(({ name }) => name);
}
