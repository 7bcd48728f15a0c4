/**
 * The catalogue: CSV that says which studio is paid for a title, in which territory, on which days.
 * The columns are `title_id,territory,studio,from,to[,title_name]`, or `title_id,studio[,title_name]`
 * for a studio that has its titles everywhere and always.
 *
 * Pure.
 *
 * @module
 */
import { type CsvRow, csvRows } from "../../shared/process/csv.ts";
import { isDay, nextDay } from "./business_day.ts";
import { UNMAPPED } from "./statement_csv.ts";

/** Every territory. */
export const EVERYWHERE = "*";
/** The first and the last day of a right without them, as Postgres writes them. */
export const ALWAYS = { from: "-infinity", to: "infinity" } as const;

/** The right to be paid for a title, by event day. */
export interface Right {
  readonly titleId: string;
  /** A territory, or {@link EVERYWHERE}. */
  readonly territory: string;
  readonly studio: string;
  /** The first and the last day, `YYYY-MM-DD`, or {@link ALWAYS}. */
  readonly from: string;
  readonly to: string;
  readonly titleName: string | undefined;
}

/** What a person has to know of a row: the line on which it starts, counted from 1, and why. */
export interface RowNote {
  readonly line: number;
  readonly reason: string;
}

/** A parsed catalogue: its rights, or every row that cannot be used. */
export type Catalogue =
  | {
    readonly ok: true;
    readonly rights: readonly Right[];
    /** Days without a right between two rights to the same title. */
    readonly holes: readonly RowNote[];
    /** The line of each of `rights`. */
    readonly lines: readonly number[];
  }
  | { readonly ok: false; readonly badRows: readonly RowNote[] };

const UNDATED = ["title_id", "studio"];
const DATED = ["title_id", "territory", "studio", "from", "to"];
const NAME = "title_name";

/** A right and the line it is on. */
interface Row extends Right {
  readonly line: number;
}

/**
 * Parses a whole catalogue. One bad row, or two rights to the same title, territory and day, and
 * there are no rights. A byte order mark and both line ends are accepted.
 *
 * @param territories those that exist; undefined: every text that a heartbeat may name
 */
export function parseCatalogue(text: string, territories?: ReadonlySet<string>): Catalogue {
  const [header, ...rows] = csvRows(text);
  if (!header) return { ok: false, badRows: [{ line: 1, reason: "the file is empty" }] };
  const columns = columnsOf(header);
  if (typeof columns === "string") return { ok: false, badRows: [{ line: 1, reason: columns }] };
  if (rows.length === 0) {
    return { ok: false, badRows: [{ line: 2, reason: "there are no titles" }] };
  }
  const good: Row[] = [];
  const badRows: RowNote[] = [];
  for (const row of rows) {
    const right = rightOf(row, columns, territories);
    if (typeof right === "string") badRows.push({ line: row.line, reason: right });
    else good.push(right);
  }
  const { overlaps, holes } = comparedRights(good);
  const all = [...badRows, ...overlaps].sort((a, b) => a.line - b.line);
  if (all.length > 0) return { ok: false, badRows: all };
  const rights = good.map(({ line: _, ...right }) => right);
  return { ok: true, rights, holes, lines: good.map(({ line }) => line) };
}

/** The columns that `header` names, or why it cannot be used. */
function columnsOf(header: CsvRow): readonly string[] | string {
  if (header.problem) return header.problem;
  const named = header.fields.join(",");
  const known = [UNDATED, [...UNDATED, NAME], DATED, [...DATED, NAME]];
  return known.find((columns) => columns.join(",") === named) ??
    `the header is "${named.slice(0, 80)}", expected ${DATED.join(",")} or ${UNDATED.join(",")}, ` +
      `each with or without ${NAME}`;
}

/** The right in `row`, or why it cannot be used. */
function rightOf(
  { line, fields, problem }: CsvRow,
  columns: readonly string[],
  territories: ReadonlySet<string> | undefined,
): Row | string {
  if (problem) return problem;
  if (fields.length !== columns.length) {
    return `expected ${columns.length} fields, came ${fields.length}`;
  }
  const field = (name: string) => fields[columns.indexOf(name)] ?? "";
  const territory = field("territory");
  const right: Row = {
    line,
    titleId: field("title_id"),
    territory: territory === "" || territory === "all" ? EVERYWHERE : territory,
    studio: field("studio"),
    from: field("from") || ALWAYS.from,
    to: field("to") || ALWAYS.to,
    titleName: field(NAME) || undefined,
  };
  return textProblem(right) ?? territoryProblem(right, territories) ?? daysProblem(right) ?? right;
}

function textProblem({ titleId, studio, titleName = "" }: Right): string | undefined {
  if (!/^[^\p{Cc}\p{Cs}]{1,64}$/u.test(titleId)) {
    return "title_id must be 1 to 64 characters, none of them a control character";
  }
  if (!/^[^\p{Cc}\p{Cs}]{1,128}$/u.test(studio) || studio.trim() !== studio) {
    return "studio must be 1 to 128 characters without control characters or outer spaces";
  }
  if (studio === UNMAPPED) return `studio ${UNMAPPED} is what unknown titles get; name a studio`;
  if (!/^[^\p{Cc}\p{Cs}]{0,256}$/u.test(titleName)) {
    return "title_name must be at most 256 characters, none of them a control character";
  }
}

function territoryProblem(
  { territory }: Right,
  territories: ReadonlySet<string> | undefined,
): string | undefined {
  if (territory === EVERYWHERE) return undefined;
  if (!/^[a-z0-9-]{2,32}$/.test(territory)) {
    return `territory ${
      JSON.stringify(territory.slice(0, 40))
    } is none that a heartbeat can name: ` +
      `2 to 32 of a-z, 0-9 and -, or ${EVERYWHERE} for all`;
  }
  if (territories === undefined || territories.has(territory)) return undefined;
  return `territory ${territory} is not in TWOFOLD_TERRITORIES`;
}

function daysProblem({ from, to }: Right): string | undefined {
  for (const [name, day, open] of [["from", from, ALWAYS.from], ["to", to, ALWAYS.to]] as const) {
    if (day !== open && !isDay(day)) {
      return `${name} ${JSON.stringify(day.slice(0, 40))} is not a day, YYYY-MM-DD, nor empty`;
    }
  }
  return from !== ALWAYS.from && to !== ALWAYS.to && from > to
    ? `from ${from} is after to ${to}`
    : undefined;
}

interface Compared {
  readonly overlaps: RowNote[];
  readonly holes: RowNote[];
}

/** Compares the rights to each title. */
function comparedRights(rows: readonly Row[]): Compared {
  const all: Compared = { overlaps: [], holes: [] };
  for (const ofTitle of Map.groupBy(rows, ({ titleId }) => titleId).values()) {
    if (ofTitle.length > 1) compareTitle(ofTitle, all);
  }
  return all;
}

// A right everywhere takes part in every territory of its title.
function compareTitle(rows: readonly Row[], all: Compared): void {
  const byTerritory = Map.groupBy(rows, ({ territory }) => territory);
  const everywhere = byTerritory.get(EVERYWHERE) ?? [];
  // A row everywhere is compared in each territory, and named once of each kind.
  const named = { overlaps: new Set<number>(), holes: new Set<number>() };
  for (const [territory, own] of byTerritory) {
    const together = territory === EVERYWHERE ? own : [...own, ...everywhere];
    const inOrder = together.toSorted((a, b) => dayOrder(a.from, b.from) || a.line - b.line);
    let before: Row | undefined;
    for (const row of inOrder) {
      const note = before && noteOn(before, row);
      const line = before === undefined ? row.line : Math.max(before.line, row.line);
      const kind = note?.isOverlap ? "overlaps" : "holes";
      if (note !== undefined && !named[kind].has(line)) {
        named[kind].add(line);
        all[kind].push({ line, reason: note.reason });
      }
      if (before === undefined || dayOrder(row.to, before.to) > 0) before = row;
    }
  }
}

function noteOn(
  before: Row,
  after: Row,
): { readonly isOverlap: boolean; readonly reason: string } | undefined {
  const { titleId, from } = after;
  const where = [before, after].find(({ territory }) => territory !== EVERYWHERE)?.territory ??
    "every territory";
  if (dayOrder(from, before.to) <= 0) {
    const [line] = [before.line, after.line].sort((a, b) => a - b);
    const since = from === ALWAYS.from ? "all days" : from;
    const reason =
      `title_id ${titleId} in ${where} has a right of ${since} on line ${line} already`;
    return { isOverlap: true, reason };
  }
  const next = nextDay(before.to);
  if (next === from) return undefined;
  const reason =
    `title_id ${titleId} in ${where} has no right from ${next} to the day before ${from}`;
  return { isOverlap: false, reason };
}

/** Compares days; open ends come first and last. */
function dayOrder(a: string, b: string): number {
  const rank = (day: string) => day === ALWAYS.from ? "" : day === ALWAYS.to ? "~" : day;
  return rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0;
}
