/**
 * The account of each stream: its position in the books and whether its outcomes add up.
 *
 * The driver returns `bigint` as text. Counts and sequences become numbers; sums of ms become BigInt,
 * because a year and a half of two billion events a day exceeds the safe integers.
 *
 * @module
 */
import type { Sql } from "postgres";
import type { Queryable } from "../../shared/process/postgres/pool.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";

/**
 * The position of a stream: `events = counted + duplicates + quarantined + canaries`, in messages up to
 * `lastSeq`, of which `gaps` are lost and each other one has at least one event.
 */
export interface Position {
  readonly stream: string;
  readonly lastSeq: number;
  /** Receipt of the message `lastSeq`, ms since the epoch; 0 before the first. */
  readonly lastReceivedAtMs: number;
  /** Events in the messages read. */
  readonly events: number;
  readonly counted: number;
  readonly duplicates: number;
  readonly quarantined: number;
  /** Heartbeats that Twofold sent itself: never credited. */
  readonly canaries: number;
  /** Messages that the stream lost, with an unknown number of events. */
  readonly gaps: number;
  readonly creditedMs: bigint;
}

/** A row of `royalty.stream_position`. */
export interface PositionRow {
  readonly stream: string;
  readonly last_seq: string;
  readonly last_received_ms: string;
  readonly events: string;
  readonly counted: string;
  readonly duplicates: string;
  readonly quarantined: string;
  readonly canaries: string;
  readonly gaps: string;
  readonly credited_ms: string;
}

/** The position in `row`. */
export function positionOf(row: PositionRow): Position {
  return {
    stream: row.stream,
    lastSeq: Number(row.last_seq),
    lastReceivedAtMs: Number(row.last_received_ms),
    events: Number(row.events),
    counted: Number(row.counted),
    duplicates: Number(row.duplicates),
    quarantined: Number(row.quarantined),
    canaries: Number(row.canaries),
    gaps: Number(row.gaps),
    creditedMs: BigInt(row.credited_ms),
  };
}

/** Reads the positions of all streams, by name. */
export async function readPositions(sql: Queryable): Promise<Position[]> {
  const rows = await sql<PositionRow[]>`
    select stream, last_seq, last_received_ms, events, counted, duplicates, quarantined, canaries,
      gaps, credited_ms
    from royalty.stream_position order by stream`;
  return rows.map(positionOf);
}

/** The sum of the outcomes: how many events are accounted for. */
function outcomesOf({ counted, duplicates, quarantined, canaries }: Position): number {
  return counted + duplicates + quarantined + canaries;
}

/** Messages of which no event is accounted for; 0 unless the books are wrong. */
function emptyMessagesOf({ events, lastSeq, gaps }: Position): number {
  return Math.max(0, lastSeq - gaps - events);
}

/** The account of a stream. */
export interface Account extends Position {
  /** Whether the outcomes add up to `events`, and every message read has one. */
  readonly identityHolds: boolean;
}

/** The accounts of all streams, and whether the books balance. */
export interface Accounts {
  readonly streams: readonly Account[];
  /** Every disagreement, one line each; empty when the books balance. */
  readonly disagreements: readonly string[];
}

/** Sums over all credits. */
interface SumsRow {
  readonly events: string;
  readonly ms: string;
}

/** Number of sequences that a stream lost. */
interface MissingRow {
  readonly stream: string;
  readonly missing: string;
}

/** Number of events of a stream that were quarantined. */
interface EntriesRow {
  readonly stream: string;
  readonly entries: string;
  /** Those that are among the rejects. */
  readonly listed: string;
}

/** Number of rejects of a stream that are kept, each with its sequence and reason. */
interface RejectsRow {
  readonly stream: string;
  readonly rejects: string;
}

/** Number of lines in which a statement and the credits of its day differ. */
interface DifferingRow {
  readonly day: string;
  readonly version: number;
  readonly differing: string;
}

/**
 * Reads the accounts in one snapshot and compares them with credits, gaps, quarantined events and the
 * rejects that are listed one by one; and every statement with the credits of its day, line by line.
 * Rejects with the error of Postgres.
 */
export async function readAccounts(sql: Sql): Promise<Accounts> {
  const [positions, sumRows, gapRows, riskRows, rejectRows, differing] = await sql.begin(
    "isolation level repeatable read",
    async (tx) =>
      [
        await readPositions(tx),
        await tx<SumsRow[]>`
      select coalesce(sum(events), 0)::text as events, coalesce(sum(ms_watched), 0)::text as ms
      from royalty.accrual`,
        await tx<MissingRow[]>`
      select stream, sum(last_seq - first_seq + 1)::text as missing
      from royalty.gap group by stream`,
        await tx<EntriesRow[]>`
      select stream, sum(entries)::text as entries, sum(listed)::text as listed
      from royalty.quarantined group by stream`,
        await tx<RejectsRow[]>`
      select stream, count(*)::text as rejects from royalty.reject group by stream`,
        await tx<DifferingRow[]>`
      select recognised_day::text as day, version, differing from (
        select recognised_day, version,
          royalty.differing_lines(recognised_day, version)::text as differing
        from royalty.statement) compared
      where differing <> '0' order by 1, 2`,
      ] as const,
  );
  const streams = positions.map((position) => ({
    ...position,
    identityHolds: position.events === outcomesOf(position) && emptyMessagesOf(position) === 0,
  }));
  const missing = new Map(gapRows.map((row) => [row.stream, Number(row.missing)]));
  const entries = new Map(riskRows.map((row) => [row.stream, Number(row.entries)]));
  const listed = new Map(riskRows.map((row) => [row.stream, Number(row.listed)]));
  const rejects = new Map(rejectRows.map((row) => [row.stream, Number(row.rejects)]));
  const sums = onlyRow(sumRows, "the sums of all credits");
  const found = disagreements(streams, sums, { missing, entries, listed, rejects });
  return { streams, disagreements: [...found, ...differing.map(differingText)] };
}

function differingText({ day, version, differing }: DifferingRow): string {
  return `${day} version ${version} and the credits of the day differ in ${differing} lines; ` +
    `deno task royalty audit --day ${day} names them`;
}

/** What the details say, by stream. */
interface Details {
  /** Sequences in gaps. */
  readonly missing: ReadonlyMap<string, number>;
  /** Quarantined events by reason, and those of them that have a reject. */
  readonly entries: ReadonlyMap<string, number>;
  readonly listed: ReadonlyMap<string, number>;
  readonly rejects: ReadonlyMap<string, number>;
}

function disagreements(
  streams: readonly Position[],
  sums: SumsRow,
  { missing, entries, listed, rejects }: Details,
): string[] {
  const counted = streams.reduce((sum, each) => sum + BigInt(each.counted), 0n);
  const creditedMs = streams.reduce((sum, each) => sum + each.creditedMs, 0n);
  const pairs: [string, bigint, bigint][] = [
    ...streams.map((position): [string, bigint, bigint] => [
      `events of ${position.stream} and the sum of their outcomes`,
      BigInt(position.events),
      BigInt(outcomesOf(position)),
    ]),
    ...streams.map((position): [string, bigint, bigint] => [
      `messages of ${position.stream} without an event and none`,
      BigInt(emptyMessagesOf(position)),
      0n,
    ]),
    ["events credited and events counted", BigInt(sums.events), counted],
    ["ms credited and ms counted", BigInt(sums.ms), creditedMs],
    ...streams.map(({ stream, gaps }): [string, bigint, bigint] => [
      `sequences in the gaps of ${stream} and its account`,
      BigInt(missing.get(stream) ?? 0),
      BigInt(gaps),
    ]),
    ...streams.map(({ stream, quarantined }): [string, bigint, bigint] => [
      `quarantined events of ${stream} by reason and its account`,
      BigInt(entries.get(stream) ?? 0),
      BigInt(quarantined),
    ]),
    ...streams.map(({ stream }): [string, bigint, bigint] => [
      `rejects of ${stream} and those counted by reason`,
      BigInt(rejects.get(stream) ?? 0),
      BigInt(listed.get(stream) ?? 0),
    ]),
  ];
  return pairs.filter(([, a, b]) => a !== b).map(([what, a, b]) => `${what} differ: ${a} and ${b}`);
}
