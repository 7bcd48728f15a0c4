import {
  assert,
  assertEquals,
  assertExists,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import type { AlertCell } from "../../contract/alert.ts";
import { parseCsv } from "../testing/csv.ts";
import type { AlertExpectation } from "../recordings/alert_expectation.ts";
import type { TruthReport } from "../fleet/truth.ts";
import type { CheckLine } from "./check_line.ts";
import {
  type AlertSeen,
  type ExpectedLife,
  parseStatement,
  renderVerdict,
  type VerdictInput,
  verdictOf,
} from "./verdict.ts";

const TRUTH: TruthReport = {
  titles: new Map([["a", { ms: 1_000, events: 2 }], ["b", { ms: 500, events: 1 }]]),
  sent: 10,
  events: 3,
  ms: 1_500,
  duplicates: 4,
  duplicatesBeyondWindow: 1,
  malformed: 2,
  conflicts: 1,
  refused: 0,
  unknownCopies: 0,
  unknownRejects: 0,
  doubtful: 0,
};
const INCIDENT: AlertExpectation = { titleId: "a", region: "de", alert: "must", sinceMs: 50_000 };
const HEARD: AlertSeen = {
  incidentId: "i",
  cell: { kind: "title_region", title: "a", region: "de" },
  status: "open",
  page: true,
  named: [],
  heardAtMs: 57_500,
};
/** Three of the four duplicates were absorbed by the stream. */
const GOOD: VerdictInput = {
  truth: TRUTH,
  statement: TRUTH.titles,
  accounting: { events: 7, counted: 3, duplicates: 1, quarantined: 3, canaries: 0, gaps: 0 },
  triageEntries: 3,
  expectations: [INCIDENT],
  alerts: [HEARD],
  alertLimitMs: 30_000,
};

Deno.test("a run in which everything agrees passes", () => {
  const verdict = verdictOf(GOOD);
  assertEquals(failing(GOOD), []);
  assert(verdict.ok);
  const text = renderVerdict(verdict);
  assertStringIncludes(text, "after 7.5 s");
  assertStringIncludes(text, "verdict: ok");
  assertEquals(JSON.parse(JSON.stringify(verdict)).ok, true);
});

Deno.test("each mistake fails the check that names it", () => {
  const { accounting } = GOOD;
  const cases: [string, Partial<VerdictInput>, string[]][] = [
    ["a millisecond too much", {
      statement: new Map([...TRUTH.titles, ["b", { ms: 501, events: 1 }]]),
    }, [
      "statement total, ms",
      "titles exact to the ms",
    ]],
    ["errors that cancel out", {
      statement: new Map([["a", { ms: 999, events: 2 }], ["b", { ms: 501, events: 1 }]]),
    }, ["titles exact to the ms"]],
    [
      "a title from nowhere",
      { statement: new Map([...TRUTH.titles, ["c", { ms: 0, events: 1 }]]) },
      [
        "titles exact to the ms",
      ],
    ],
    ["a hole", { accounting: { ...accounting, events: 6, duplicates: 0, gaps: 1 } }, [
      ...["gaps", "of those found by royalty"],
    ]],
    ["an event in no account", { accounting: { ...accounting, events: 8 } }, [
      "events = counted + duplicates + quarantined + canaries",
      "sent = counted + duplicates + quarantined",
      "duplicates absorbed or found",
    ]],
    ["an event lost", { accounting: { ...accounting, events: 6, counted: 2 } }, [
      ...["counted", "duplicates absorbed or found"],
    ]],
    ["late retries that never reached royalty", {
      accounting: { ...accounting, events: 6, duplicates: 0 },
    }, ["of those found by royalty"]],
    ["a malformed event forgotten", { triageEntries: 2 }, ["entries in triage"]],
    ["an event of unknown fate", { truth: { ...TRUTH, doubtful: 1 } }, ["events of unknown fate"]],
    ["no alert", { alerts: [] }, ["alert on a in de"]],
    ["an alert too late", { alerts: [{ ...HEARD, heardAtMs: 80_001 }] }, ["alert on a in de"]],
    ["an alert too early", { alerts: [{ ...HEARD, heardAtMs: 49_999 }, HEARD] }, [
      "alert on a in de",
    ]],
    ["an alert elsewhere", {
      alerts: [HEARD, heardOf({ kind: "title_region", title: "a", region: "br" })],
    }, ["alerts on healthy titles"]],
    ["an alert about another title everywhere", {
      alerts: [HEARD, heardOf({ kind: "title", title: "b" })],
    }, ["alerts on healthy titles"]],
    ["an alert about another region's build", {
      alerts: [HEARD, heardOf({ kind: "region_build", region: "br", build: "9" })],
    }, ["alerts on healthy titles"]],
    ["an alert that does not page", { alerts: [{ ...HEARD, page: false }] }, ["alert on a in de"]],
    ["nothing at all", {
      truth: { ...TRUTH, titles: new Map(), events: 0, ms: 0, sent: 7 },
      statement: new Map(),
      accounting: { ...accounting, events: 4, counted: 0 },
    }, ["something was watched"]],
  ];
  for (const [name, changes, expected] of cases) {
    const input = { ...GOOD, ...changes };
    assertEquals(failing(input), expected, name);
    assert(!verdictOf(input).ok, name);
    assertStringIncludes(renderVerdict(verdictOf(input)), "FAIL", name);
  }
});

Deno.test("the time limit of an alert starts when the evidence is sufficient", () => {
  const incident = { ...INCIDENT, evidentMs: 60_000 };
  const heard = (heardAtMs: number) => {
    const input = { ...GOOD, expectations: [incident], alerts: [{ ...HEARD, heardAtMs }] };
    const line = verdictOf(input).checks.find(({ name }) => name === "alert on a in de");
    assertExists(line);
    return line;
  };
  assertEquals([heard(57_500).found, heard(57_500).ok], ["2.5 s before it", true]);
  assertEquals([heard(90_000).found, heard(90_000).ok], ["after 30.0 s", true]);
  assertEquals(heard(90_001).ok, false);
  assertEquals(heard(49_999).ok, false);
});

Deno.test("a page about a parent or a cohort of devices is one about the title in it", () => {
  const parents: AlertCell[] = [
    { kind: "all" },
    { kind: "region", region: "de" },
    { kind: "title", title: "a" },
    { kind: "region_cdn", region: "de", cdn: "x" },
    { kind: "build", build: "9" },
  ];
  for (const cell of parents) assertEquals(failing({ ...GOOD, alerts: [heardOf(cell)] }), []);
  // A message that does not page is no mistake.
  const healthy = { ...heardOf({ kind: "title", title: "b" }), page: false };
  assertEquals(failing({ ...GOOD, alerts: [HEARD, healthy] }), []);
});

Deno.test("an incident must page once, fold the second region, update and resolve", () => {
  const name = "cdn x in de";
  const lines = {
    alert: `alert on ${name}`,
    pages: `pages about ${name}`,
    fold: "cdn x in br folds into it",
    messages: `messages about ${name}`,
  };
  const life: ExpectedLife = {
    cell: { region: "de", cdn: "x" },
    sinceMs: 50_000,
    folds: { region: "br", cdn: "x" },
    statuses: ["open", "update", "resolved"],
  };
  const judged = (...alerts: AlertSeen[]) =>
    failing({ ...GOOD, expectations: [], alerts, lives: [life] });
  const page = heardOf({ kind: "region_cdn", region: "de", cdn: "x" });
  const fold = { kind: "region_cdn", region: "br", cdn: "x" } as const;
  const update: AlertSeen = { ...page, status: "update", page: false, named: [fold] };
  const resolved: AlertSeen = { ...page, status: "resolved", page: false };
  assertEquals(judged(page, update, resolved), []);
  assertEquals(judged({ ...page, page: false }, { ...update, page: true }, resolved), []);
  assertEquals(judged(), Object.values(lines));
  assertEquals(judged(page, { ...update, named: [page.cell] }, resolved), [lines.fold]);
  assertEquals(judged(page, update), [lines.messages]);
  assertEquals(judged({ ...page, named: [fold] }, resolved), [lines.messages]);
  assertEquals(judged(page, update, { ...resolved, status: "closed" }), [lines.messages]);
  assertEquals(judged(page, update, { ...resolved, incidentId: "other" }), [lines.messages]);
  assertEquals(judged(page, page, update, resolved), [lines.pages]);
  assertEquals(judged({ ...page, heardAtMs: 81_000 }, update, resolved), [lines.alert]);
  assertEquals(judged({ ...page, heardAtMs: 49_000 }, update, resolved), [lines.alert]);
  const second = { ...heardOf(fold), incidentId: "second" };
  assertEquals(judged(page, second, update, resolved), ["alerts on healthy titles"]);
  // The region alone does not name the CDN.
  const region = heardOf({ kind: "region", region: "de" });
  assertEquals(judged(region), ["alerts on healthy titles", ...Object.values(lines)]);
});

Deno.test("canaries are in the stream, and no device has sent them", () => {
  const { accounting } = GOOD;
  const more = { ...accounting, events: accounting.events + 2 };
  assertEquals(failing({ ...GOOD, accounting: { ...more, canaries: 2 } }), []);
  assertEquals(failing({ ...GOOD, accounting: more }).length > 0, true);
});

Deno.test("attempts without an answer allow as many stored copies and no more", () => {
  const truth = { ...TRUTH, unknownCopies: 2, unknownRejects: 1 };
  const stored = (quarantined: number): VerdictInput => ({
    ...GOOD,
    truth,
    accounting: { ...GOOD.accounting, events: 4 + quarantined, quarantined },
    triageEntries: quarantined,
  });
  assertEquals(failing(stored(3)), []);
  assertEquals(failing(stored(4)), []);
  assertEquals(failing(stored(5)), ["duplicates absorbed or found", "quarantined"]);
});

Deno.test("the content shown according to a recording replaces the sum of the heartbeats", () => {
  assertEquals(failing({ ...GOOD, recordedMs: new Map([["a", 1_000], ["b", 500]]) }), []);
  const other = new Map([["a", 1_000], ["b", 499]]);
  assertEquals(failing({ ...GOOD, recordedMs: other }), [
    ...["statement total, ms", "titles exact to the ms"],
  ]);
});

Deno.test("an ambiguous title is shown and not judged", () => {
  const either: AlertExpectation = { titleId: "b", region: "de", alert: "either", why: "close" };
  const input = { ...GOOD, expectations: [INCIDENT, either] };
  assertEquals(failing(input), []);
  const alerts = [
    ...GOOD.alerts,
    heardOf({ kind: "title_region", title: "b", region: "de" }, 1),
  ];
  assertEquals(failing({ ...input, alerts }), []);
  assertStringIncludes(renderVerdict(verdictOf({ ...input, alerts })), "1 of 1 alerted");
});

Deno.test("a statement is summed per title", () => {
  const csv = "line_type,title_id,events,ms_watched\r\n" +
    'CREDIT,"a, b",2,10\r\nADJUSTMENT,"a, b",1,5\r\nCREDIT,\'-x,1,7\r\n';
  assertEquals(
    parseStatement(csv),
    new Map([["a, b", { ms: 15, events: 3 }], ["-x", { ms: 7, events: 1 }]]),
  );
  assertEquals(parseStatement("title_id,events,ms_watched\r\n").size, 0);
});

Deno.test("an invalid statement is refused with the line number", () => {
  const cases: [string, string][] = [
    ["", "line 1"],
    ["title_id,events\r\na,1\r\n", 'line 2: ms_watched is ""'],
    ["title_id,events,ms_watched\r\na,1,1.5\r\n", 'line 2: ms_watched is "1.5"'],
    ["title_id,events,ms_watched\r\n,1,1\r\n", "line 2: title_id"],
    ["title_id,events,ms_watched\r\na,1\r\n", "line 2: 2 fields"],
  ];
  for (const [csv, expected] of cases) {
    assertStringIncludes(assertThrows(() => parseStatement(csv)).message, expected);
  }
});

Deno.test("CSV is parsed as RFC 4180 defines it", () => {
  const csv = 'a,b\r\n"x ""1""\r\ny",\r\n,"z"\n';
  assertEquals(parseCsv(csv), [
    { line: 2, values: { a: 'x "1"\r\ny', b: "" } },
    { line: 4, values: { a: "", b: "z" } },
  ]);
  for (const wrong of ['a\r\n"x', 'a\r\nx"y"', 'a\r\n"x"y', "a\rb", "a,a\r\n"]) {
    assertStringIncludes(assertThrows(() => parseCsv(wrong)).message, "line ");
  }
});

function failing(input: VerdictInput): string[] {
  const isFailing = ({ ok }: CheckLine) => !ok;
  return verdictOf(input).checks.filter(isFailing).map(({ name }) => name);
}

/** A page about another cell. */
function heardOf(cell: AlertCell, heardAtMs = HEARD.heardAtMs): AlertSeen {
  return { ...HEARD, cell, heardAtMs };
}
