/**
 * The verdict of a load: what was accepted is in the statements to the millisecond, the rate was
 * held, alerts came in time, memory is flat.
 *
 * Pure.
 *
 * @module
 */
import { check, type CheckLine, equal, whole } from "../../dev/demo/check_line.ts";
import type { CellTotals } from "../../dev/fleet/device_client_load.ts";
import { parseCsv } from "../../dev/testing/csv.ts";
import type { MemoryCourse } from "../chaos/memory.ts";
import type { IncidentHeard } from "../stalling_cohorts.ts";
import { isRateHeld, limitOf, type LoadOutcome, ON_TIME_RATIO } from "./outcome.ts";

/** What a verdict is made of. */
export interface LoadVerdictInput {
  readonly outcome: LoadOutcome;
  /** Share of one core of the busiest generator. */
  readonly generatorCores: number;
  /** What must be in the statements, and what is; a cell may occur several times. */
  readonly truth: readonly CellTotals[];
  readonly statement: readonly CellTotals[];
  /** Of `royalty status`: what no stream may have. */
  readonly unexplained: number;
  readonly incidents: readonly IncidentHeard[];
  readonly memory: Readonly<Record<string, MemoryCourse>>;
  /** Whether the run is long enough to judge memory. */
  readonly judgesMemory: boolean;
}

/** Target of live for p99, ms. */
const ALERT_TARGET_MS = 5_000;

/** The lines of the verdict. */
export function loadChecks(input: LoadVerdictInput): CheckLine[] {
  const { outcome, incidents, memory, judgesMemory } = input;
  return [
    lostCheck(outcome),
    rateCheck(input),
    ...bookChecks(input),
    ...(incidents.length > 0 ? [alertCheck(incidents)] : []),
    ...(judgesMemory
      ? Object.entries(memory).map(([name, { verdict }]) =>
        check(`memory of ${name}`, "flat", verdict, verdict !== "growing")
      )
      : []),
  ];
}

function lostCheck({ lost, lastRefusal }: LoadOutcome): CheckLine {
  const found = lost === 0 ? "0" : `${whole(lost)}, last ${lastRefusal}`;
  return check("requests lost", "0", found, lost === 0);
}

function rateCheck({ outcome, generatorCores }: LoadVerdictInput): CheckLine {
  const ok = isRateHeld(outcome);
  // Rounded down, so that 98.99 % does not look like enough.
  const percent = (Math.floor(outcome.onTimeRatio * 1e4) / 100).toFixed(2);
  const found = ok ? `${percent} %` : `${percent} %; ${limitOf(outcome, generatorCores)}`;
  return check("sent within 1 s of when due", `>= ${ON_TIME_RATIO * 100} %`, found, ok);
}

function bookChecks({ truth, statement, unexplained }: LoadVerdictInput): CheckLine[] {
  const [expected, found] = [byCell(truth), byCell(statement)];
  const total = (cells: ReadonlyMap<string, CellTotals>, part: "ms" | "events") =>
    [...cells.values()].reduce((sum, each) => sum + each[part], 0);
  const keys = [...new Set([...expected.keys(), ...found.keys()])];
  let wrong = 0;
  let worstMs = 0;
  for (const key of keys) {
    const [wanted, had] = [expected.get(key), found.get(key)];
    const differenceMs = (had?.ms ?? 0) - (wanted?.ms ?? 0);
    if (differenceMs !== 0 || had?.events !== wanted?.events) wrong++;
    worstMs = Math.max(worstMs, Math.abs(differenceMs));
  }
  return [
    equal("events in the statements", total(expected, "events"), total(found, "events")),
    equal("milliseconds in the statements", total(expected, "ms"), total(found, "ms")),
    check(
      "titles and regions exact to the ms",
      `${whole(keys.length)} of ${whole(keys.length)}`,
      `${whole(keys.length - wrong)} of ${whole(keys.length)}, worst ${whole(worstMs)} ms off`,
      wrong === 0 && keys.length > 0,
    ),
    equal("duplicates, quarantined, gaps", 0, unexplained),
  ];
}

function byCell(cells: readonly CellTotals[]): Map<string, CellTotals> {
  const sums = new Map<string, CellTotals>();
  for (const cell of cells) {
    const key = `${cell.titleId} ${cell.region}`;
    const { ms, events } = sums.get(key) ?? { ms: 0, events: 0 };
    sums.set(key, { ...cell, ms: ms + cell.ms, events: events + cell.events });
  }
  return sums;
}

function alertCheck(incidents: readonly IncidentHeard[]): CheckLine {
  const after = alertLatenciesMs(incidents);
  const p99Ms = after[Math.min(after.length - 1, Math.floor(after.length * 0.99))] ?? Infinity;
  const missing = incidents.length - after.length;
  const found = missing > 0
    ? `${missing} of ${incidents.length} without an alert`
    : `${whole(p99Ms)} ms of ${incidents.length}`;
  const ok = missing === 0 && p99Ms <= ALERT_TARGET_MS;
  return check("device to alert, p99", `<= ${whole(ALERT_TARGET_MS)} ms`, found, ok);
}

/** Times to the alerts that came, ms, ascending. */
export function alertLatenciesMs(incidents: readonly IncidentHeard[]): number[] {
  return incidents.flatMap(({ alertAfterMs }) => alertAfterMs === undefined ? [] : [alertAfterMs])
    .sort((a, b) => a - b);
}

/** The totals of an exported statement (CSV), one for each of its lines. */
export function statementCells(csv: string): CellTotals[] {
  return parseCsv(csv).map(({ values }) => ({
    titleId: values.title_id ?? "",
    region: values.territory ?? "",
    events: Number(values.events),
    ms: Number(values.ms_watched),
  }));
}
