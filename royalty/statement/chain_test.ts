import { assert, assertEquals, assertExists } from "@std/assert";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { ChainCheck, type StoredStatement } from "./chain.ts";
import { manifestOf, sha256 } from "./manifest.ts";
import { statementCsv, type StatementLine } from "./statement_csv.ts";

interface Kept {
  readonly statement: StoredStatement;
  readonly lines: readonly StatementLine[];
}

/** A chain as it is issued: one day is empty, one is reissued. */
function aChain(): Kept[] {
  const chain: Kept[] = [];
  for (
    const [day, version, titles] of [
      ["2028-02-28", 1, ["a", "=b"]],
      ["2028-02-29", 1, []],
      ["2028-02-28", 2, ["a", "=b"]],
      ["2028-03-01", 1, ["c"]],
    ] as const
  ) {
    const lines = titles.map((titleId, i) => ({
      recognisedDay: day,
      eventDay: i === 0 ? day : "2028-02-27",
      studio: version === 1 ? undefined : "Acme",
      titleId,
      territory: "de",
      events: BigInt(i + 1),
      msWatched: 60_000n,
    }));
    chain.push({ lines, statement: issued(day, version, lines, chain.at(-1)?.statement) });
  }
  return chain;
}

function issued(
  day: string,
  version: number,
  lines: readonly StatementLine[],
  before: StoredStatement | undefined,
): StoredStatement {
  const csv = statementCsv(lines);
  const manifest = manifestOf({
    day,
    version,
    zone: "UTC",
    graceMs: 0,
    closedAtMs: 0,
    sealedAtMs: 0,
    issuedAtMs: 0,
    issuedBy: "Ada",
    acts: [],
    lines,
    csv,
    streams: [],
    quarantined: [],
    settledGaps: [],
    recount: null,
    previous: before
      ? { recognised_day: before.day, version: before.version, sha256: before.manifestSha256 }
      : null,
    replaces: null,
  });
  return {
    day,
    version,
    csv,
    manifest,
    sha256: sha256(csv),
    manifestSha256: sha256(manifest),
    previousSha256: before?.manifestSha256,
    rows: lines.length,
    events: lines.reduce((sum, { events }) => sum + events, 0n),
    ms: lines.reduce((sum, { msWatched }) => sum + msWatched, 0n),
  };
}

function firstLineOf({ lines }: Kept): StatementLine {
  const [line] = lines;
  assertExists(line);
  return line;
}

function faultsOf(chain: readonly Kept[], oldestOpenDay?: string, sealedDay?: string): string[] {
  const check = new ChainCheck();
  const faults = chain.flatMap(({ statement, lines }) => check.next(statement, lines));
  return [...faults, ...check.end(oldestOpenDay, sealedDay)];
}

Deno.test("a chain as it was issued has no faults", () => {
  assertEquals(faultsOf(aChain(), "2028-03-02"), []);
  assertEquals(faultsOf(aChain(), "2028-03-03", "2028-03-02"), []);
  assertEquals(faultsOf([], undefined), []);
  assertEquals(faultsOf([], "2028-02-29", "2028-02-28"), []);
});

Deno.test("a removed statement is found, the last one included", () => {
  for (const i of aChain().keys()) {
    assert(faultsOf(aChain().toSpliced(i, 1), "2028-03-02").length > 0, `${i}`);
  }
  assertEquals(faultsOf(aChain().slice(0, 3), "2028-03-02"), [
    "the books say that 2028-03-02 closes next, but 2028-03-01 has none yet",
  ]);
  assertEquals(faultsOf([], "2028-03-02"), [
    "the books say that 2028-03-02 closes next, but there are no statements",
  ]);
});

Deno.test("every change of a byte, hash, link or line is found", () => {
  const random = propertyRandom("changes to a chain");
  const flip = (bytes: Uint8Array<ArrayBuffer>) => {
    const changed = bytes.slice();
    const view = new DataView(changed.buffer);
    const at = random.int(0, bytes.length - 1);
    view.setUint8(at, view.getUint8(at) ^ 1 << random.int(0, 7));
    return changed;
  };
  const [first] = aChain();
  assertExists(first);
  const line = firstLineOf(first);
  const changes: ((kept: Kept) => Kept)[] = [
    ({ statement, lines }) => ({ lines, statement: { ...statement, csv: flip(statement.csv) } }),
    ({ statement, lines }) => ({
      lines,
      statement: { ...statement, manifest: flip(statement.manifest) },
    }),
    // Rewritten with its own hash: the manifest's hash of the CSV, or the lines, disagree.
    ({ statement, lines }) => {
      const csv = flip(statement.csv);
      return { lines, statement: { ...statement, csv, sha256: sha256(csv) } };
    },
    ({ statement, lines }) => ({ lines, statement: { ...statement, ms: statement.ms + 1n } }),
    ({ statement, lines }) => ({ lines, statement: { ...statement, previousSha256: "0" } }),
    ({ statement, lines }) => ({ statement, lines: [...lines, line] }),
    ({ statement, lines }) => ({ lines, statement: { ...statement, version: 9 } }),
  ];
  for (let i = 0; i < 2_000; i++) {
    const chain = aChain();
    const at = random.int(0, chain.length - 1);
    const kept = chain[at];
    assertExists(kept);
    const changed = random.pick(changes)(kept);
    assert(faultsOf(chain.with(at, changed), "2028-03-02").length > 0, `change ${i} at ${at}`);
  }
});

Deno.test("a statement forged with matching hashes breaks the next link", () => {
  const chain = aChain();
  const [first, second] = chain;
  assertExists(first);
  assertExists(second);
  const { lines, statement } = second;
  const more = [{ ...firstLineOf(first), recognisedDay: statement.day, eventDay: statement.day }];
  const forged = issued(statement.day, 1, more, first.statement);
  const faults = faultsOf(chain.with(1, { lines: more, statement: forged }), "2028-03-02");
  assertEquals(lines.length, 0);
  assertEquals(faults.length, 2);
  assert(faults.every((fault) => fault.startsWith("2028-02-28 version 2: it")), faults.join());
});
