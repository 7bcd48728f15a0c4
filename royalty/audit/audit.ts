/**
 * Checks that a day is complete: every sequence of every stream was counted, a duplicate, quarantined
 * or in a gap, and the statement is the sum of what was counted.
 *
 * A closed day is checked by its manifest, and the manifest against the books; an open day by the
 * books.
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
import type { StatementLine } from "../statement/statement_csv.ts";

/** A stored statement and its lines in `royalty.statement_line`. */
export interface BookedStatement extends StoredStatement {
  readonly lines: readonly StatementLine[];
}

/** The input of an audit: the books of one day. */
export interface AuditedDay {
  readonly day: string;
  readonly zone: string;
  /** The first and the last recognised day in the books; undefined while they are empty. */
  readonly known: { readonly first: string; readonly last: string } | undefined;
  /** The instant as of which the day was sealed, ms since the epoch; undefined while it is open. */
  readonly sealedAsOfMs: number | undefined;
  /** The newest version; undefined while the day is not closed. */
  readonly statement: BookedStatement | undefined;
  /** The credits recognised on the day. */
  readonly credits: readonly StatementLine[];
  /** By the books, the sequences of each stream since the seal of the day before. */
  readonly ranges: readonly StreamRange[];
  readonly openGaps: readonly OpenGap[];
}

/** The outcome of an audit. */
export interface Audit {
  readonly state: "open" | "sealed" | "closed";
  readonly ranges: readonly StreamRange[];
  readonly lines: readonly StatementLine[];
  /** Settled gaps in the sequences of a closed day. */
  readonly settledGaps: readonly SettledGap[];
  /** Every disagreement, one line each; empty when the account is complete. */
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
    events: z.int().optional(),
    counted: z.int(),
    duplicates: z.int(),
    quarantined: z.int(),
    gaps: z.int(),
    canaries: z.int().optional(),
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

/** Whether the books have anything about the day. */
export function isKnown({ sealedAsOfMs, statement, credits }: AuditedDay): boolean {
  return sealedAsOfMs !== undefined || statement !== undefined || credits.length > 0;
}

/** Audits a day. `booksDisagreements` are those of the books as a whole; they are appended. */
export function auditOf(audited: AuditedDay, booksDisagreements: readonly string[] = []): Audit {
  const { statement, credits, ranges, sealedAsOfMs } = audited;
  if (!statement) {
    return {
      state: sealedAsOfMs === undefined ? "open" : "sealed",
      ranges,
      lines: credits,
      settledGaps: [],
      disagreements: [...ranges.flatMap(brokenIdentity), ...booksDisagreements],
    };
  }
  const manifest = parseManifest(statement.manifest);
  const manifestRanges = manifest ? manifest.streams : [];
  return {
    state: "closed",
    ranges: manifestRanges,
    lines: statement.lines,
    settledGaps: manifest?.settled_gaps ?? [],
    disagreements: [
      ...manifestRanges.flatMap(brokenIdentity),
      ...manifestRanges.flatMap((range) => unsettledGaps(range, manifest?.settled_gaps ?? [])),
      ...(manifest ? [] : ["the manifest cannot be read"]),
      ...statementDisagreements(statement, manifest),
      ...lineDisagreements("the statement's lines", statement.lines, "the credits", credits),
      ...rangeDisagreements(manifestRanges, ranges),
      ...booksDisagreements,
    ],
  };
}

function parseManifest(bytes: Uint8Array): Manifest | undefined {
  try {
    return manifestSchema.safeParse(JSON.parse(new TextDecoder().decode(bytes))).data;
  } catch {
    return undefined;
  }
}

/**
 * The account of a range. In a complete one, events and outcomes are equal, and each of the messages has
 * an event.
 */
export function accountOf(range: StreamRange) {
  const messages = range.last_seq - range.first_seq + 1 - range.gaps;
  return {
    messages,
    events: range.events ?? messages,
    outcomes: range.counted + range.duplicates + range.quarantined + (range.canaries ?? 0),
  };
}

function brokenIdentity(range: StreamRange): string[] {
  const { stream } = range;
  const { messages, events, outcomes } = accountOf(range);
  return [
    ...(events === outcomes ? [] : [`${stream} has ${events} events and ${outcomes} outcomes`]),
    ...(events >= messages ? [] : [`${stream} has ${messages} messages and ${events} events`]),
  ];
}

function unsettledGaps(
  { stream, gaps }: StreamRange,
  settledGaps: readonly SettledGap[],
): string[] {
  const settled = settledGaps.filter((gap) => gap.stream === stream)
    .reduce((sum, { first_seq, last_seq }) => sum + last_seq - first_seq + 1, 0);
  return settled === gaps ? [] : [`${stream} lost ${gaps} sequences, and ${settled} are settled`];
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
  const manifest = new Map(inManifest.map((range) => [range.stream, rangeText(range)]));
  const books = new Map(inBooks.map((range) => [range.stream, rangeText(range)]));
  return [...new Set([...manifest.keys(), ...books.keys()])]
    .filter((stream) => manifest.get(stream) !== books.get(stream))
    .map((stream) =>
      `the manifest and the books differ on ${stream}: ${manifest.get(stream) ?? "nothing"} and ` +
      `${books.get(stream) ?? "nothing"}`
    );
}

function rangeText(range: StreamRange): string {
  const { first_seq, last_seq, events, counted, duplicates, quarantined, gaps, canaries } = range;
  const outcomes = { counted, duplicates, quarantined, gaps, canaries };
  return JSON.stringify({ first_seq, last_seq, events, ...outcomes });
}

// The studio is not compared, because the catalogue may have changed since the close.
function lineDisagreements(
  firstName: string,
  first: readonly StatementLine[],
  secondName: string,
  second: readonly StatementLine[],
): string[] {
  return [...pairLines(first, second)].flatMap(([ours, theirs]) => {
    const [firstAmount, secondAmount] = [amountText(ours), amountText(theirs)];
    if (firstAmount === secondAmount) return [];
    const key = lineKey(ours === undefined ? theirs : ours);
    return [`${key}: ${firstAmount} in ${firstName}, ${secondAmount} in ${secondName}`];
  });
}

/** Sums of events and ms over `lines`. */
export function sumOfLines(
  lines: readonly Pick<StatementLine, "events" | "msWatched">[],
): { readonly events: bigint; readonly ms: bigint } {
  return lines.reduce(
    ({ events, ms }, line) => ({ events: events + line.events, ms: ms + line.msWatched }),
    { events: 0n, ms: 0n },
  );
}
