import { assertEquals, assertExists, assertStringIncludes } from "@std/assert";
import { toJson } from "../../shared/process/cli/json_output.ts";
import { type AuditedDay, auditOf, isKnown } from "./audit.ts";
import { auditFacts, auditText } from "./audit_report.ts";
import { manifestOf, sha256, type StreamRange } from "../statement/manifest.ts";
import { statementCsv, type StatementLine } from "../statement/statement_csv.ts";

const DAY = "2026-11-20";
const LINES: readonly StatementLine[] = [
  line({ territory: "de", events: 3n, msWatched: 30_000n }),
  line({ territory: "br", events: 1n, msWatched: 5n }),
  line({ eventDay: "2026-11-18", territory: "de", events: 2n, msWatched: 70_000n }),
];
const SETTLED = {
  stream: "HEARTBEATS_0",
  first_seq: 15,
  last_seq: 15,
  by: "A. Person",
  reason: "restored from a backup",
  at: "2026-11-21T00:30:00.000Z",
};
const FULL = range("HEARTBEATS_0", 11, 20, {
  counted: 4,
  duplicates: 3,
  quarantined: 2,
  gaps: 1,
});
const EMPTY = range("HEARTBEATS_1", 5, 4, { counted: 0, duplicates: 0, quarantined: 0, gaps: 0 });
const RANGES: readonly StreamRange[] = [FULL, EMPTY];

function line(changes: Partial<StatementLine>): StatementLine {
  return {
    recognisedDay: DAY,
    eventDay: DAY,
    studio: "Studio",
    titleId: "title-1",
    territory: "de",
    events: 1n,
    msWatched: 1n,
    ...changes,
  };
}

function range(
  stream: string,
  first_seq: number,
  last_seq: number,
  outcomes: Omit<StreamRange, "stream" | "first_seq" | "last_seq">,
): StreamRange {
  return { stream, first_seq, last_seq, ...outcomes };
}

function closedDay(changes: Partial<AuditedDay> = {}): AuditedDay {
  const csv = statementCsv(LINES);
  const manifest = manifestOf({
    day: DAY,
    version: 1,
    zone: "UTC",
    graceMs: 3_600_000,
    closedAtMs: Date.UTC(2026, 10, 21, 1),
    sealedAtMs: Date.UTC(2026, 10, 21, 1),
    issuedAtMs: Date.UTC(2026, 10, 21, 1),
    issuedBy: "Ada",
    acts: [],
    lines: LINES,
    csv,
    streams: RANGES,
    quarantined: [],
    settledGaps: [SETTLED],
    recount: null,
    previous: null,
    replaces: null,
  });
  return {
    day: DAY,
    zone: "UTC",
    known: { first: DAY, last: DAY },
    sealedAsOfMs: Date.UTC(2026, 10, 21, 1),
    statement: {
      day: DAY,
      version: 1,
      csv,
      manifest,
      sha256: sha256(csv),
      manifestSha256: sha256(manifest),
      previousSha256: undefined,
      rows: 3,
      events: 6n,
      ms: 100_005n,
      lines: LINES,
    },
    credits: LINES,
    ranges: RANGES,
    openGaps: [],
    ...changes,
  };
}

Deno.test("a closed day that agrees with its manifest is complete", () => {
  const audited = closedDay();
  const audit = auditOf(audited);
  assertEquals([audit.state, audit.disagreements], ["closed", []]);
  assertEquals(
    auditText(audited, audit),
    `2026-11-20 is closed: version 1, as of 2026-11-21T01:00:00.000Z

stream        first_seq  last_seq  events  counted  duplicates  quarantined  canaries  gaps  identity
HEARTBEATS_0         11        20       9        4           3            2         0     1       yes
HEARTBEATS_1          5         4       0        0           0            0         0     0       yes
events = counted + duplicates + quarantined + canaries; gaps are lost messages

line type   lines  events  ms_watched  minutes
USAGE           2       4       30005    0.500
ADJUSTMENT      1       2       70000    1.167
both            3       6      100005    1.667

settled gap  HEARTBEATS_0 15 to 15, by A. Person: restored from a backup
the account is complete`,
  );
});

Deno.test("the report is available as JSON", () => {
  const audited = closedDay();
  const facts = JSON.parse(toJson(auditFacts(audited, auditOf(audited))));
  assertEquals([facts.state, facts.version, facts.complete], ["closed", 1, true]);
  assertEquals(facts.sealed_as_of_ms, Date.UTC(2026, 10, 21, 1));
  assertEquals(facts.streams[0], { ...FULL, identity_holds: true });
  assertEquals(facts.sums, [
    { line_type: "USAGE", lines: 2, events: 4, ms_watched: 30_005 },
    { line_type: "ADJUSTMENT", lines: 1, events: 2, ms_watched: 70_000 },
  ]);
  assertEquals(facts.settled_gaps, [SETTLED]);
});

Deno.test("every change after the close is a disagreement", () => {
  const good = closedDay();
  const { statement } = good;
  assertExists(statement);
  const otherLines = [...LINES.slice(1), line({ events: 3n, msWatched: 29_999n })];
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const bytes = (content: string) => new TextEncoder().encode(content);
  const fewer = bytes(text(statement.manifest).replace('"counted": 4', '"counted": 3'));
  const unsettled = bytes(text(statement.manifest).replace('"first_seq": 15', '"first_seq": 16'));
  const cases: readonly [Partial<AuditedDay>, string][] = [
    [
      { credits: otherLines },
      "2026-11-20 de title-1: 3 events and 30000 ms in the statement's lines",
    ],
    [{ credits: LINES.slice(1) }, "nothing in the credits"],
    [
      { statement: { ...statement, lines: otherLines } },
      "ms in the manifest and in the lines differ: 100005 and 100004",
    ],
    [{ statement: { ...statement, csv: bytes("x") } }, "the hash of the CSV differ"],
    [{ statement: { ...statement, manifest: bytes("{}") } }, "the manifest cannot be read"],
    [
      { statement: { ...statement, manifest: fewer } },
      "HEARTBEATS_0 has 9 events and 8 outcomes",
    ],
    [{ statement: { ...statement, manifest: fewer } }, "the hash of the manifest differ"],
    [
      { statement: { ...statement, manifest: unsettled } },
      "HEARTBEATS_0 lost 1 sequences, and 0 are settled",
    ],
    [{ ranges: RANGES.slice(0, 1) }, "the manifest and the books differ on HEARTBEATS_1"],
    [
      { ranges: [FULL, { ...EMPTY, first_seq: 6, last_seq: 5 }] },
      "the manifest and the books differ on HEARTBEATS_1",
    ],
  ];
  for (const [changes, expected] of cases) {
    const audited = closedDay(changes);
    const audit = auditOf(audited);
    assertStringIncludes(audit.disagreements.join("\n"), expected);
    assertStringIncludes(auditText(audited, audit), `DISAGREES  ${audit.disagreements[0]}`);
    assertStringIncludes(auditText(audited, audit), "the account is NOT complete");
  }
  assertEquals(auditOf(good, ["the books as a whole"]).disagreements, ["the books as a whole"]);
});

Deno.test("a change of the catalogue after the close is not a disagreement", () => {
  const credits = LINES.map((each) => ({ ...each, studio: "Another" }));
  assertEquals(auditOf(closedDay({ credits })).disagreements, []);
});

Deno.test("an open day is audited by the current books, with its open gaps", () => {
  const audited = closedDay({
    sealedAsOfMs: undefined,
    statement: undefined,
    openGaps: [{ stream: "HEARTBEATS_0", firstSeq: 12, lastSeq: 12 }],
  });
  const audit = auditOf(audited);
  assertEquals([audit.state, audit.disagreements, audit.lines], ["open", [], LINES]);
  assertStringIncludes(
    auditText(audited, audit),
    "open gap  HEARTBEATS_0 12 to 12: no day closes until it is settled",
  );
  const sealed = closedDay({ statement: undefined });
  assertStringIncludes(
    auditText(sealed, auditOf(sealed)),
    "2026-11-20 takes no more credits, as of",
  );
  const broken = { ...audited, ranges: [{ ...FULL, gaps: 0 }] };
  assertEquals(auditOf(broken).disagreements, ["HEARTBEATS_0 has 10 events and 9 outcomes"]);
});

Deno.test("a day without seal, statement and credits is unknown", () => {
  const nothing = { sealedAsOfMs: undefined, statement: undefined, credits: [] };
  assertEquals(isKnown(closedDay(nothing)), false);
  assertEquals(isKnown(closedDay({ ...nothing, credits: LINES })), true);
  // An empty day that is closed has a statement.
  assertEquals(isKnown(closedDay({ credits: [] })), true);
});
