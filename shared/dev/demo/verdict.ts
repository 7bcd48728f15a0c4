/**
 * The verdict of a run: compares statement, accounting and alerts with the ground truth.
 *
 * Pure. Times are ms since the epoch unless stated otherwise.
 *
 * @module
 */
import type { AlertCell, IncidentAlert } from "../../contract/alert.ts";
import { left, renderTable, right } from "../../process/cli/table.ts";
import { check, type CheckLine, equal, whole } from "./check_line.ts";
import { closingChecks, type ClosingInput } from "./closing_verdict.ts";
import { parseCsv } from "../testing/csv.ts";
import type { Cohort } from "../fleet/simulator.ts";
import type { AlertExpectation } from "../recordings/alert_expectation.ts";
import type { TitleTotals, TruthReport } from "../fleet/truth.ts";

/** The accounting of royalty, summed over all streams. */
export interface RoyaltyAccounting {
  /** In the messages of all streams. */
  readonly events: number;
  readonly counted: number;
  /** Found by royalty; the stream dropped others. */
  readonly duplicates: number;
  readonly quarantined: number;
  /** Heartbeats that the pager sent, and no device. */
  readonly canaries: number;
  readonly gaps: number;
}

/** A message of an incident of live, as on-call received it. */
export interface AlertSeen {
  readonly incidentId: string;
  /** What the incident is about. */
  readonly cell: AlertCell;
  readonly status: IncidentAlert["status"];
  readonly page: boolean;
  /** The cells that the message lists as the worst. */
  readonly named: readonly AlertCell[];
  readonly heardAtMs: number;
}

/** Values of dimensions; a dimension without a value is any. */
export type CellValues = Omit<AlertCell, "kind">;

/** One incident from its open to its end: one page, then messages with its id. */
export interface ExpectedLife {
  /** The cause: the cell of the incident must have at least these values. */
  readonly cell: CellValues;
  /** When viewers begin to stall; the page must come after that, within the limit. */
  readonly sinceMs: number;
  /** A cell that must fold into the incident: one of its messages must list it. */
  readonly folds: CellValues;
  /** Statuses that its messages must have; the first and last of them at the beginning and end. */
  readonly statuses: readonly IncidentAlert["status"][];
}

/** The results of a run, and the ground truth. */
export interface VerdictInput {
  readonly truth: TruthReport;
  /** Content shown per title according to the recordings, ms; replaces the ms of `truth`. */
  readonly recordedMs?: ReadonlyMap<string, number> | undefined;
  /** The exported statement; see {@link parseStatement}. */
  readonly statement: ReadonlyMap<string, TitleTotals>;
  readonly accounting: RoyaltyAccounting;
  /** Entries in triage. */
  readonly triageEntries: number;
  /** Cohorts without an expectation must not alert. */
  readonly expectations: readonly AlertExpectation[];
  readonly alerts: readonly AlertSeen[];
  /** Incidents that are judged from the open to the end. */
  readonly lives?: readonly ExpectedLife[] | undefined;
  /** The results of closing the days. */
  readonly closing?: ClosingInput;
  /** Maximum time from the start of an incident to its alert, ms. */
  readonly alertLimitMs: number;
  /** Lines of the scenario's own. */
  readonly more?: readonly CheckLine[];
}

/** One title of the statement, compared with the truth. */
export interface TitleLine {
  readonly titleId: string;
  readonly expected: TitleTotals;
  readonly found: TitleTotals;
  readonly differenceMs: number;
  readonly ok: boolean;
}

/** The result of each check. */
export interface Verdict {
  readonly ok: boolean;
  readonly titles: readonly TitleLine[];
  readonly checks: readonly CheckLine[];
}

const NOTHING: TitleTotals = { ms: 0, events: 0 };

/** Compares exactly; only attempts without an answer leave a tolerance. */
export function verdictOf(input: VerdictInput): Verdict {
  const titles = titleLines(input);
  const checks = [
    ...creditChecks(input, titles),
    ...accountingChecks(input),
    ...(input.closing ? closingChecks(input.closing) : []),
    ...alertChecks(input),
    ...(input.lives ?? []).flatMap((life) => lifeChecks(life, input)),
    ...(input.more ?? []),
  ];
  return { ok: checks.every(({ ok }) => ok), titles, checks };
}

function titleLines({ truth, recordedMs, statement }: VerdictInput): TitleLine[] {
  const known = [...truth.titles.keys(), ...statement.keys(), ...recordedMs?.keys() ?? []];
  return [...new Set(known)].sort().map((titleId) => {
    const { ms, events } = truth.titles.get(titleId) ?? NOTHING;
    const expected = { ms: recordedMs ? recordedMs.get(titleId) ?? 0 : ms, events };
    const found = statement.get(titleId) ?? NOTHING;
    const differenceMs = found.ms - expected.ms;
    const ok = differenceMs === 0 && found.events === expected.events;
    return { titleId, expected, found, differenceMs, ok };
  });
}

function creditChecks({ truth }: VerdictInput, titles: readonly TitleLine[]): CheckLine[] {
  const expectedMs = titles.reduce((sum, { expected }) => sum + expected.ms, 0);
  const wrong = titles.filter(({ ok }) => !ok);
  const worstMs = wrong.reduce((most, line) => Math.max(most, Math.abs(line.differenceMs)), 0);
  const totalMs = titles.reduce((sum, { found }) => sum + found.ms, 0);
  return [
    check("something was watched", "> 0 events", whole(truth.events), truth.events > 0),
    equal("statement total, ms", expectedMs, totalMs),
    {
      name: "titles exact to the ms",
      expected: `${titles.length} of ${titles.length}`,
      found: `${titles.length - wrong.length} of ${titles.length}, worst ${whole(worstMs)} ms off`,
      ok: wrong.length === 0,
    },
    equal("events of unknown fate", 0, truth.doubtful),
  ];
}

function accountingChecks({ truth, accounting, triageEntries }: VerdictInput): CheckLine[] {
  const { events, counted, duplicates, quarantined, canaries, gaps } = accounting;
  const absorbed = truth.sent - (events - canaries);
  const rejected = truth.malformed + truth.conflicts;
  const allDuplicates = duplicates + absorbed;
  // An attempt without an answer may store a copy that is not acknowledged: one more stored
  // message, hence a smaller `absorbed`, and one more duplicate or entry.
  const ofDevices = counted + duplicates + quarantined;
  const mostBeyond = truth.duplicates + truth.unknownCopies;
  return [
    equal(
      "events = counted + duplicates + quarantined + canaries",
      events,
      ofDevices + canaries,
    ),
    equal("gaps", 0, gaps),
    equal("sent = counted + duplicates + quarantined", truth.sent, ofDevices + absorbed),
    equal("counted", truth.events, counted),
    between("duplicates absorbed or found", allDuplicates, [
      truth.duplicates - truth.unknownRejects,
      truth.duplicates,
    ]),
    between("of those found by royalty", duplicates, [truth.duplicatesBeyondWindow, mostBeyond]),
    between("quarantined", quarantined, [rejected, rejected + truth.unknownRejects]),
    equal("entries in triage", quarantined, triageEntries),
  ];
}

function alertChecks(input: VerdictInput): CheckLine[] {
  const { expectations, alerts, lives = [], alertLimitMs } = input;
  const pages = alerts.filter(({ page }) => page);
  const required = expectations.filter(({ alert }) => alert === "must");
  const tolerated = expectations.filter(({ alert }) => alert !== "must_not");
  const isRight = ({ cell }: AlertSeen) =>
    tolerated.some((cohort) => covers(cell, cohort)) ||
    lives.some((life) => includes(cell, life.cell));
  const wrong = pages.filter((page) => !isRight(page)).map(({ cell }) => cellName(cell));
  const undecided = expectations.filter(({ alert }) => alert === "either");
  return [
    ...required.map((incident) => {
      const heard = pages.filter(({ cell }) => covers(cell, incident));
      return incidentCheck(nameOf(incident), incident, heard, alertLimitMs);
    }),
    {
      name: "alerts on healthy titles",
      expected: "0",
      found: wrong.length === 0 ? "0" : `${wrong.length}: ${[...new Set(wrong)].join(", ")}`,
      ok: wrong.length === 0,
    },
    ...undecided.length > 0 ? [undecidedLine(undecided, pages)] : [],
  ];
}

// A page about a parent reports what is inside it. Viewers of a cohort may have one cause, such as
// a build, which the page names instead.
function covers(cell: AlertCell, { titleId, region }: Cohort): boolean {
  return (cell.title === undefined || cell.title === titleId) &&
    (cell.region === undefined || cell.region === region);
}

const COHORT_DIMENSIONS = ["cdn", "isp", "build", "model"] as const;

function cellName(cell: CellValues): string {
  const cohort = COHORT_DIMENSIONS.filter((dimension) => cell[dimension] !== undefined)
    .map((dimension) => `${dimension} ${cell[dimension]}`);
  const what = [...(cell.title === undefined ? [] : [cell.title]), ...cohort];
  return `${what.join(", ") || "all titles"} in ${cell.region ?? "all regions"}`;
}

const DIMENSIONS = ["title", "region", ...COHORT_DIMENSIONS] as const;

/** Whether `cell` has all values of `wanted`. */
function includes(cell: CellValues, wanted: CellValues): boolean {
  return DIMENSIONS.every((each) => wanted[each] === undefined || wanted[each] === cell[each]);
}

function lifeChecks(life: ExpectedLife, input: VerdictInput): CheckLine[] {
  const name = cellName(life.cell);
  const about = input.alerts.filter(({ cell }) => includes(cell, life.cell));
  const pages = about.filter(({ page }) => page);
  // Everything is judged of the incident that paged first.
  const id = (pages[0] ?? about[0])?.incidentId;
  const messages = about.filter(({ incidentId }) => incidentId === id);
  const fold = messages.find(({ named }) => named.some((cell) => includes(cell, life.folds)));
  return [
    incidentCheck(name, life, pages, input.alertLimitMs),
    equal(`pages about ${name}`, 1, pages.length),
    check(
      `${cellName(life.folds)} folds into it`,
      "listed",
      fold === undefined ? "not listed" : `listed in ${fold.status}`,
      fold !== undefined,
    ),
    messagesCheck(`messages about ${name}`, life.statuses, messages),
  ];
}

function messagesCheck(
  name: string,
  expected: ExpectedLife["statuses"],
  messages: readonly AlertSeen[],
): CheckLine {
  const found = messages.map(({ status }) => status);
  const ok = found.length > 0 && found[0] === expected[0] && found.at(-1) === expected.at(-1) &&
    expected.every((status) => found.includes(status));
  return check(name, expected.join(", "), found.join(", ") || "none", ok);
}

function incidentCheck(
  cohort: string,
  incident: Pick<AlertExpectation, "sinceMs" | "evidentMs">,
  pages: readonly AlertSeen[],
  limitMs: number,
): CheckLine {
  const name = `alert on ${cohort}`;
  const heard = pages.map(({ heardAtMs }) => heardAtMs);
  if (incident.sinceMs === undefined) {
    return check(name, "an alert", `${heard.length} alerts`, heard.length > 0);
  }
  const { sinceMs, evidentMs = sinceMs } = incident;
  const early = heard.filter((atMs) => atMs < sinceMs).length;
  const from = incident.evidentMs === undefined ? "the incident" : "plain evidence";
  const expected = `within ${seconds(limitMs)} s of ${from}`;
  if (early > 0) return check(name, expected, `${early} before any stall`, false);
  if (heard.length === 0) return check(name, expected, "none", false);
  const afterMs = Math.min(...heard) - evidentMs;
  const found = afterMs < 0 ? `${seconds(-afterMs)} s before it` : `after ${seconds(afterMs)} s`;
  return check(name, expected, found, afterMs <= limitMs);
}

function undecidedLine(
  undecided: readonly AlertExpectation[],
  alerts: readonly AlertSeen[],
): CheckLine {
  const alerted = undecided.filter((each) => alerts.some(({ cell }) => covers(cell, each))).length;
  const found = `${alerted} of ${undecided.length} alerted`;
  return check("titles that may or may not alert", "not judged", found, true);
}

function nameOf({ titleId, region }: Cohort): string {
  return `${titleId} in ${region}`;
}

function between(name: string, found: number, [low, high]: [number, number]): CheckLine {
  const expected = low === high ? whole(low) : `${whole(low)} to ${whole(high)}`;
  return check(name, expected, whole(found), found >= low && found <= high);
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}

const TITLE_COLUMNS = [
  left("title"),
  right("expected ms"),
  right("statement ms"),
  right("difference"),
  right("events"),
  left(""),
];
const CHECK_COLUMNS = [left("check"), right("expected"), right("found"), left("")];

/** The verdict as aligned text, one line per title and per check. */
export function renderVerdict(verdict: Verdict): string {
  const titles = verdict.titles.map(({ titleId, expected, found, differenceMs, ok }) => [
    titleId,
    ...[expected.ms, found.ms, differenceMs, found.events].map(whole),
    mark(ok),
  ]);
  const failed = verdict.checks.filter(({ ok }) => !ok).length;
  return [
    renderTable(TITLE_COLUMNS, titles),
    "",
    renderChecks(verdict.checks),
    "",
    verdict.ok ? "verdict: ok, every line holds" : `verdict: FAIL, ${failed} lines fail`,
  ].join("\n");
}

/** Lines of a verdict as aligned text. */
export function renderChecks(checks: readonly CheckLine[]): string {
  return renderTable(
    CHECK_COLUMNS,
    checks.map(({ name, expected, found, ok }) => [name, expected, found, mark(ok)]),
  );
}

function mark(ok: boolean): string {
  return ok ? "ok" : "FAIL";
}

/**
 * Totals per title of an exported statement (CSV with at least `title_id`, `events` and
 * `ms_watched`). Throws an `Error` that names the line of anything that is not such a statement.
 */
export function parseStatement(csv: string): Map<string, TitleTotals> {
  const totals = new Map<string, TitleTotals>();
  for (const { line, values } of parseCsv(csv)) {
    const number = (column: string) => {
      const text = values[column] ?? "";
      if (!/^-?\d+$/.test(text)) throw new Error(`line ${line}: ${column} is "${text}"`);
      return Number(text);
    };
    if (!values.title_id) throw new Error(`line ${line}: title_id is empty`);
    // An id that a spreadsheet would read as a formula is exported with an apostrophe before it.
    const titleId = values.title_id.replace(/^'(?=[=+\-@])/, "");
    const sum = totals.get(titleId) ?? NOTHING;
    totals.set(titleId, {
      ms: sum.ms + number("ms_watched"),
      events: sum.events + number("events"),
    });
  }
  return totals;
}
