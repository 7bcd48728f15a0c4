/**
 * Compares a recount with the books; the report as text and as JSON.
 *
 * Pure.
 *
 * @module
 */
import { left, renderTable, right } from "../../shared/process/cli/table.ts";
import { type DayLine, lineKey, pairLines } from "../statement/day_line.ts";
import type { DeviceLossEstimate } from "../statement/device_loss.ts";
import type { RecountedLine, RecountTally } from "./recount.ts";

/** A line in which the recount and the books differ. */
export interface LineDifference {
  readonly eventDay: string;
  readonly territory: string;
  readonly titleId: string;
  /** Undefined when the books have no such line. */
  readonly booked: DayLine | undefined;
  /** Undefined when the recount has no such line. */
  readonly recounted: RecountedLine | undefined;
}

/** A place in the books, and the lines in which the recount differs from it. */
export interface Comparison {
  readonly name: string;
  readonly differences: readonly LineDifference[];
}

/** A recount and its comparison with the books. */
export interface RecountReport extends RecountTally {
  readonly day: string;
  readonly state: "open" | "sealed" | "closed";
  readonly method: string;
  readonly lines: readonly RecountedLine[];
  readonly deviceLoss: DeviceLossEstimate;
  /** The sequences read of each stream; the stream does not have `missing` of them. */
  readonly streams: readonly {
    readonly stream: string;
    readonly from: number;
    readonly through: number;
    readonly missing: number;
  }[];
  readonly comparisons: readonly Comparison[];
  /** Duration. */
  readonly seconds: number;
}

const MAX_DIFFERENCES_SHOWN = 50;

/**
 * The lines in which `booked` and `recounted` differ, sorted. The books may have a doubtful event or
 * not; all other events must agree to the millisecond.
 */
export function compareLines(
  booked: readonly DayLine[],
  recounted: readonly RecountedLine[],
): LineDifference[] {
  return [...pairLines(booked, recounted)].flatMap(([their, mine]) => {
    if (agree(their, mine)) return [];
    const { eventDay, territory, titleId } = their === undefined ? mine : their;
    return [{ eventDay, territory, titleId, booked: their, recounted: mine }];
  }).sort((a, b) => lineKey(a) < lineKey(b) ? -1 : 1);
}

function agree(booked: DayLine | undefined, recounted: RecountedLine | undefined): boolean {
  const { events = 0n, msWatched = 0n } = booked ?? {};
  const max = recounted ?? NOTHING;
  return events <= max.events && events >= max.events - max.doubtfulEvents &&
    msWatched <= max.msWatched && msWatched >= max.msWatched - max.doubtfulMs;
}

const NOTHING = { events: 0n, msWatched: 0n, doubtfulEvents: 0n, doubtfulMs: 0n };

/** Whether the recount agrees with every place in the books. */
export function agrees({ comparisons }: Pick<RecountReport, "comparisons">): boolean {
  return comparisons.every(({ differences }) => differences.length === 0);
}

/** The report as text; the last line is the verdict. */
export function recountText(report: RecountReport): string {
  const { day, state, streams, read, repeats, unearned, seconds, lines, comparisons } = report;
  const sum = totals(lines);
  const refused = Object.entries(unearned).filter(([, count]) => count > 0)
    .map(([reason, count]) => `${reason} ${count}`).join(", ");
  return [
    `${day} (${state}), recounted from raw heartbeats: ${report.method}`,
    "",
    ...streams.map(({ stream, from, through, missing }) =>
      from > through
        ? `${stream}  nothing kept up to sequence ${through}`
        : `${stream}  sequences ${from} to ${through}, ${missing} of them not in the stream`
    ),
    `read ${read}: repeats ${repeats}, refused ${refused || "none"}`,
    `recognised on ${day}: ${sum.events} events, ${sum.msWatched} ms in ${lines.length} lines`,
    ...doubtText(sum),
    lossText(report.deviceLoss),
    "",
    ...comparisons.flatMap(comparisonText),
    "",
    `took ${seconds.toFixed(1)} s, ${Math.round(read / seconds)} events/s`,
    agrees(report) ? "the recount agrees" : "the recount DIFFERS",
  ].join("\n");
}

/** The report for `toJson`. */
export function recountFacts(report: RecountReport) {
  const { lines, comparisons, ...rest } = report;
  return {
    ...rest,
    agrees: agrees(report),
    recognised: { lines: lines.length, ...totals(lines) },
    comparisons,
  };
}

function lossText({ sessions, sampled, received, missing }: DeviceLossEstimate): string {
  const of = sampled === 1 ? "" : `, a sample of 1 in ${1 / sampled}`;
  const share = (100 * missing / Math.max(received + missing, 1)).toFixed(2);
  return `device loss: ${missing} heartbeats missing among ${received} received (${share} %), by the ` +
    `seq of ${sessions} sessions${of}; never credited`;
}

function doubtText({ doubtfulEvents, doubtfulMs }: typeof NOTHING): string[] {
  if (doubtfulEvents === 0n) return [];
  return [
    `of which doubtful, because raw heartbeats cannot tell whether they are the first of their id: ` +
    `${doubtfulEvents} events, ${doubtfulMs} ms`,
  ];
}

/** Sums over `lines`. */
export function totals(lines: readonly RecountedLine[]): typeof NOTHING {
  return lines.reduce((sum, line) => ({
    events: sum.events + line.events,
    msWatched: sum.msWatched + line.msWatched,
    doubtfulEvents: sum.doubtfulEvents + line.doubtfulEvents,
    doubtfulMs: sum.doubtfulMs + line.doubtfulMs,
  }), NOTHING);
}

function comparisonText({ name, differences }: Comparison): string[] {
  if (differences.length === 0) return [`${name}: no difference`];
  const shown = differences.slice(0, MAX_DIFFERENCES_SHOWN);
  const table = renderTable(DIFFERENCE_COLUMNS, shown.map(differenceRow));
  const more = differences.length - shown.length;
  return [
    `${name}: ${differences.length} lines differ`,
    ...table.split("\n").map((line) => `  ${line}`),
    ...(more > 0 ? [`  … and ${more} more`] : []),
  ];
}

const DIFFERENCE_COLUMNS = [
  left("event_day"),
  left("territory"),
  left("title_id"),
  right("events"),
  right("recounted"),
  right("ms"),
  right("recounted"),
];

function differenceRow(
  { eventDay, territory, titleId, booked, recounted }: LineDifference,
): string[] {
  return [
    eventDay,
    territory,
    titleId,
    String(booked?.events ?? 0n),
    String(recounted?.events ?? 0n),
    String(booked?.msWatched ?? 0n),
    String(recounted?.msWatched ?? 0n),
  ];
}
