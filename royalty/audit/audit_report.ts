/**
 * The report of an audit, as text and as JSON.
 *
 * Pure.
 *
 * @module
 */
import { left, renderTable, right } from "../../shared/process/cli/table.ts";
import { lineType, minutesOf, type StatementLine } from "../statement/statement_csv.ts";
import type { StreamRange } from "../statement/manifest.ts";
import { accountOf, type Audit, type AuditedDay, sumOfLines } from "./audit.ts";

const RANGE_COLUMNS = [
  left("stream"),
  right("first_seq"),
  right("last_seq"),
  right("events"),
  right("counted"),
  right("duplicates"),
  right("quarantined"),
  right("canaries"),
  right("gaps"),
  right("identity"),
];
const SUM_COLUMNS = [
  left("line type"),
  right("lines"),
  right("events"),
  right("ms_watched"),
  right("minutes"),
];
const LINE_TYPES = ["USAGE", "ADJUSTMENT"];

/** The report as text; the last line is the verdict. */
export function auditText(audited: AuditedDay, audit: Audit): string {
  const { ranges, lines, disagreements } = audit;
  return [
    headline(audited, audit),
    "",
    renderTable(RANGE_COLUMNS, ranges.map(rangeRow)),
    "events = counted + duplicates + quarantined + canaries; gaps are lost messages",
    "",
    renderTable(SUM_COLUMNS, [...sumsOf(lines), { lineType: "both", lines }].map(sumRow)),
    "",
    ...audit.settledGaps.map(({ stream, first_seq, last_seq, by, reason }) =>
      `settled gap  ${stream} ${first_seq} to ${last_seq}, by ${by}: ${reason}`
    ),
    ...audited.openGaps.map(({ stream, firstSeq, lastSeq }) =>
      `open gap  ${stream} ${firstSeq} to ${lastSeq}: no day closes until it is settled`
    ),
    ...disagreements.map((line) => `DISAGREES  ${line}`),
    disagreements.length === 0 ? "the account is complete" : "the account is NOT complete",
  ].join("\n");
}

/** The report for `toJson`. */
export function auditFacts(audited: AuditedDay, audit: Audit) {
  const { day, zone, sealedAsOfMs, statement, openGaps } = audited;
  const { state, ranges, lines, settledGaps, disagreements } = audit;
  return {
    day,
    zone,
    state,
    version: statement?.version,
    sealedAsOfMs,
    complete: disagreements.length === 0,
    disagreements,
    streams: ranges.map((range) => ({ ...range, identityHolds: holds(range) })),
    sums: sumsOf(lines).map(({ lineType, lines }) => {
      const { events, ms } = sumOfLines(lines);
      return { lineType, lines: lines.length, events, msWatched: ms };
    }),
    settledGaps,
    openGaps,
  };
}

function headline({ day, sealedAsOfMs, statement }: AuditedDay, { state }: Audit): string {
  const asOfMs = sealedAsOfMs === undefined
    ? ""
    : `, as of ${new Date(sealedAsOfMs).toISOString()}`;
  if (statement) return `${day} is closed: version ${statement.version}${asOfMs}`;
  if (state === "sealed") {
    return `${day} takes no more credits${asOfMs}; its statement is not issued`;
  }
  return `${day} is open: the books as they are now, with all sequences since the last close`;
}

function holds(range: StreamRange): boolean {
  const { messages, events, outcomes } = accountOf(range);
  return events === outcomes && events >= messages;
}

function rangeRow(range: StreamRange): string[] {
  const { stream, first_seq, last_seq, counted, duplicates, quarantined, canaries = 0, gaps } =
    range;
  const { events } = accountOf(range);
  const numbers = [first_seq, last_seq, events, counted, duplicates, quarantined, canaries, gaps];
  return [stream, ...numbers.map(String), holds(range) ? "yes" : "NO"];
}

/** The lines of one type, or of both. */
interface LinesOfType {
  readonly lineType: string;
  readonly lines: readonly StatementLine[];
}

function sumsOf(lines: readonly StatementLine[]): LinesOfType[] {
  return LINE_TYPES.map((type) => ({
    lineType: type,
    lines: lines.filter((line) => lineType(line) === type),
  }));
}

function sumRow({ lineType, lines }: LinesOfType): string[] {
  const { events, ms } = sumOfLines(lines);
  return [lineType, String(lines.length), String(events), String(ms), minutesOf(ms)];
}
