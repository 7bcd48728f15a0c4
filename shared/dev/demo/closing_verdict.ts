/**
 * The verdict on closed books: what was watched before the close is in the first statements, what
 * arrived later is in the next one as adjustments, and the chain of statements holds.
 *
 * Pure.
 *
 * @module
 */
import { type CsvRecord, parseCsv } from "../testing/csv.ts";
import type { TitleTotals } from "../fleet/truth.ts";
import { type CheckLine, whole } from "./check_line.ts";

/** The results of closing the days, and the ground truth. */
export interface ClosingInput {
  /** Truth per title when the days were closed. */
  readonly before: ReadonlyMap<string, TitleTotals>;
  /** Truth per title in the end. */
  readonly after: ReadonlyMap<string, TitleTotals>;
  /** Statements of the days closed before the late events, as CSV. */
  readonly closed: readonly string[];
  /** Statement of the day closed after them, if there were any. */
  readonly next: string | undefined;
  /** Output of `royalty verify-chain`. */
  readonly chain: string;
  /** Output of `royalty audit` for each closed day; the last line is its verdict. */
  readonly audits: readonly string[];
}

/** One line for each promise. */
export function closingChecks(input: ClosingInput): CheckLine[] {
  const { before, after, closed, next, chain, audits } = input;
  const usage = closed.flatMap(parseCsv);
  const lines = [
    amounts("watched before the close, in its statements, ms", total(before), sum(usage)),
    wrongLines(
      "of another type than their days say",
      usage,
      (line) => isUsage(line) || isAdjustment(line),
    ),
    chainLine(chain),
    auditLine(audits),
  ];
  if (next === undefined) return lines;
  const late = parseCsv(next);
  const days = new Set(usage.map(({ values }) => values.event_day));
  return [
    ...lines,
    amounts("late, in the next statement, ms", total(after) - total(before), sum(late)),
    wrongLines(
      "that do not name the closed day they adjust",
      late,
      (line) => days.has(line.event_day) && isAdjustment(line),
    ),
  ];
}

function isUsage({ line_type, event_day, recognised_day }: CsvRecord["values"]): boolean {
  return line_type === "USAGE" && event_day === recognised_day;
}

function isAdjustment({ line_type, event_day, recognised_day }: CsvRecord["values"]): boolean {
  if (event_day === undefined || recognised_day === undefined) return false;
  return line_type === "ADJUSTMENT" && event_day < recognised_day;
}

// The first words are the result; the rest names the folder and the last hash.
function chainLine(chain: string): CheckLine {
  const [found = "broken"] = chain.match(/^the chain holds: \d+ statements/) ?? [];
  return { name: "chain of statements", expected: "holds", found, ok: found !== "broken" };
}

function auditLine(audits: readonly string[]): CheckLine {
  const complete = audits.filter((text) => /^the account is complete$/m.test(text)).length;
  const ok = complete === audits.length && complete > 0;
  return {
    name: "days whose audit is complete",
    expected: whole(audits.length),
    found: whole(complete),
    ok,
  };
}

/** The first lines of a statement. */
export function statementText(name: string, csv: string, most = 4): string {
  const lines = csv.trimEnd().split("\r\n");
  // The header is one more.
  const left = lines.length - 1 - most;
  return [
    name,
    ...lines.slice(0, 1 + most).map((line) => `  ${line}`),
    ...(left > 0 ? [`  … and ${whole(left)} more lines`] : []),
  ].join("\n");
}

function amounts(name: string, expected: number, found: number): CheckLine {
  const ok = expected === found && expected > 0;
  return { name, expected: whole(expected), found: whole(found), ok };
}

function wrongLines(
  what: string,
  records: readonly CsvRecord[],
  isRight: (line: CsvRecord["values"]) => boolean,
): CheckLine {
  const wrong = records.filter(({ values }) => !isRight(values)).length;
  return { name: `lines ${what}`, expected: "0", found: whole(wrong), ok: wrong === 0 };
}

function total(titles: ReadonlyMap<string, TitleTotals>): number {
  return [...titles.values()].reduce((ms, title) => ms + title.ms, 0);
}

function sum(records: readonly CsvRecord[]): number {
  return records.reduce((ms, { values }) => ms + Number(values.ms_watched), 0);
}
