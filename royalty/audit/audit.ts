/**
 * Whether a day is complete: every sequence of every stream is counted, a duplicate, in quarantine
 * or in a named gap, and the statement is the sum of what was counted.
 *
 * A closed day is audited as its manifest says it, and the manifest against the books; an open day
 * as the books are now.
 *
 * Pure.
 *
 * @module
 */
import { z } from "zod";
import type { StoredStatement } from "../statement/chain.ts";
import type { OpenGap } from "../books/gaps.ts";
import { amountText, lineKey, pairLines } from "../statement/day_line.ts";
import { type SettledGap, sha256, type StreamRange } from "../statement/manifest.ts";
import type { StatementLine } from "../statement/csv.ts";

/** A statement and the lines kept of it. */
export interface BookedStatement extends StoredStatement {
  readonly lines: readonly StatementLine[];
}

/** What the books say of one day. */
export interface AuditedDay {
  readonly day: string;
  readonly zone: string;
  /** The first and last day that anything is recognised on. */
  readonly known: { readonly first: string; readonly last: string } | undefined;
  /** As of when the day took its last credit, ms since the epoch; undefined while it is open. */
  readonly sealedAsOf: number | undefined;
  /** The newest version. */
  readonly statement: BookedStatement | undefined;
  /** The credits that are recognised on the day. */
  readonly credits: readonly StatementLine[];
  /** What each stream brought since the day before was closed, as the books have it. */
  readonly ranges: readonly StreamRange[];
  readonly openGaps: readonly OpenGap[];
}

/** The outcome of an audit. */
export interface Audit {
  readonly state: "open" | "sealed" | "closed";
  readonly ranges: readonly StreamRange[];
  readonly lines: readonly StatementLine[];
  /** Gaps among the sequences of a closed day, each answered for by a person. */
  readonly settledGaps: readonly SettledGap[];
  /** What does not agree, one line each; empty when the account is complete. */
  readonly disagreements: readonly string[];
}

/** The parts of a manifest that an audit reads. */
const manifestSchema = z.object({
  row_count: z.int(),
  total_events: z.int(),
  total_ms: z.int(),
  csv: z.object({ sha256: z.string(), bytes: z.int() }),
  streams: z.array(z.object({
    stream: z.string(),
    first_seq: z.int(),
    last_seq: z.int(),
    counted: z.int(),
    duplicates: z.int(),
    quarantined: z.int(),
    gaps: z.int(),
  })),
  settled_gaps: z.array(z.object({
    stream: z.string(),
    first_seq: z.int(),
    last_seq: z.int(),
    by: z.string(),
    reason: z.string(),
    at: z.string(),
  })),
});
type Manifest = z.infer<typeof manifestSchema>;

/** Whether anything is known of the day at all. */
export function isKnown({ sealedAsOf, statement, credits }: AuditedDay): boolean {
  return sealedAsOf !== undefined || statement !== undefined || credits.length > 0;
}

/** Audits the day. `elsewhere` is what disagrees in the books as a whole. */
export function auditOf(audited: AuditedDay, elsewhere: readonly string[] = []): Audit {
  const { statement, credits, ranges, sealedAsOf } = audited;
  if (!statement) {
    return {
      state: sealedAsOf === undefined ? "open" : "sealed",
      ranges,
      lines: credits,
      settledGaps: [],
      disagreements: [...ranges.flatMap(brokenIdentity), ...elsewhere],
    };
  }
  const manifest = readManifest(statement.manifest);
  const of = manifest ? manifest.streams : [];
  return {
    state: "closed",
    ranges: of,
    lines: statement.lines,
    settledGaps: manifest?.settled_gaps ?? [],
    disagreements: [
      ...of.flatMap(brokenIdentity),
      ...of.flatMap((range) => unnamedGaps(range, manifest?.settled_gaps ?? [])),
      ...(manifest ? [] : ["the manifest cannot be read"]),
      ...statementDisagreements(statement, manifest),
      ...differing("the statement's lines", statement.lines, "the credits", credits),
      ...rangeDisagreements(of, ranges),
      ...elsewhere,
    ],
  };
}

function readManifest(bytes: Uint8Array): Manifest | undefined {
  try {
    return manifestSchema.safeParse(JSON.parse(new TextDecoder().decode(bytes))).data;
  } catch {
    return undefined;
  }
}

/** How many sequences a range has, and how many of them have an outcome. */
export function accountOf(range: StreamRange) {
  return {
    sequences: range.last_seq - range.first_seq + 1,
    outcomes: range.counted + range.duplicates + range.quarantined + range.gaps,
  };
}

function brokenIdentity(range: StreamRange): string[] {
  const { sequences, outcomes } = accountOf(range);
  if (sequences === outcomes) return [];
  return [`${range.stream} has ${sequences} sequences and ${outcomes} outcomes`];
}

function unnamedGaps(
  { stream, gaps }: StreamRange,
  settled: readonly SettledGap[],
): string[] {
  const named = settled.filter((gap) => gap.stream === stream)
    .reduce((sum, { first_seq, last_seq }) => sum + last_seq - first_seq + 1, 0);
  return named === gaps ? [] : [`${stream} lost ${gaps} sequences, and ${named} are answered for`];
}

function statementDisagreements(
  { lines, csv, sha256: csvSha256, manifest: bytes, manifestSha256 }: BookedStatement,
  manifest: Manifest | undefined,
): string[] {
  const { events, ms } = sumOfLines(lines);
  const pairs: [string, unknown, unknown][] = [
    ["the hash of the manifest", sha256(bytes), manifestSha256],
    ["the hash of the CSV", sha256(csv), csvSha256],
  ];
  if (manifest) {
    pairs.push(
      ["the hash of the CSV in the manifest", manifest.csv.sha256, csvSha256],
      ["rows in the manifest and lines", manifest.row_count, lines.length],
      ["events in the manifest and in the lines", BigInt(manifest.total_events), events],
      ["ms in the manifest and in the lines", BigInt(manifest.total_ms), ms],
    );
  }
  return pairs.filter(([, a, b]) => a !== b).map(([what, a, b]) => `${what} differ: ${a} and ${b}`);
}

function rangeDisagreements(
  inManifest: readonly StreamRange[],
  inBooks: readonly StreamRange[],
): string[] {
  const said = new Map(inManifest.map((range) => [range.stream, JSON.stringify(inOrder(range))]));
  const booked = new Map(inBooks.map((range) => [range.stream, JSON.stringify(inOrder(range))]));
  return [...new Set([...said.keys(), ...booked.keys()])]
    .filter((stream) => said.get(stream) !== booked.get(stream))
    .map((stream) =>
      `the manifest and the books differ on ${stream}: ${said.get(stream) ?? "nothing"} and ` +
      `${booked.get(stream) ?? "nothing"}`
    );
}

function inOrder({ first_seq, last_seq, counted, duplicates, quarantined, gaps }: StreamRange) {
  return { first_seq, last_seq, counted, duplicates, quarantined, gaps };
}

// A catalogue changed after the close names another studio; what was watched stays.
function differing(
  oneName: string,
  one: readonly StatementLine[],
  otherName: string,
  other: readonly StatementLine[],
): string[] {
  return [...pairLines(one, other)].flatMap(([mine, their]) => {
    const [ours, theirs] = [amountText(mine), amountText(their)];
    if (ours === theirs) return [];
    const key = lineKey(mine === undefined ? their : mine);
    return [`${key}: ${ours} in ${oneName}, ${theirs} in ${otherName}`];
  });
}

/** Sums over lines. */
export function sumOfLines(
  lines: readonly Pick<StatementLine, "events" | "msWatched">[],
): { readonly events: bigint; readonly ms: bigint } {
  return lines.reduce(
    ({ events, ms }, line) => ({ events: events + line.events, ms: ms + line.msWatched }),
    { events: 0n, ms: 0n },
  );
}
