/**
 * The account of each stream: how far it is posted, and whether its outcomes add up.
 *
 * `bigint` arrives as text. Counts and sequences become numbers; sums of ms become BigInt, because a
 * year and a half of two billion events a day leaves the safe integers behind.
 *
 * @module
 */
import type { Sql } from "postgres";

/** How far a stream is accounted for; `lastSeq = counted + duplicates + quarantined + gaps`. */
export interface Position {
  readonly stream: string;
  readonly lastSeq: number;
  /** Receipt time of the message `lastSeq`, ms since the epoch. */
  readonly lastReceivedAt: number;
  readonly counted: number;
  readonly duplicates: number;
  readonly quarantined: number;
  readonly gaps: number;
  readonly creditedMs: bigint;
}

export interface PositionRow {
  stream: string;
  last_seq: string;
  last_received_ms: string;
  counted: string;
  duplicates: string;
  quarantined: string;
  gaps: string;
  credited_ms: string;
}

export function positionOf(row: PositionRow): Position {
  return {
    stream: row.stream,
    lastSeq: Number(row.last_seq),
    lastReceivedAt: Number(row.last_received_ms),
    counted: Number(row.counted),
    duplicates: Number(row.duplicates),
    quarantined: Number(row.quarantined),
    gaps: Number(row.gaps),
    creditedMs: BigInt(row.credited_ms),
  };
}

/** A stream's account, and whether it adds up. */
export interface Account extends Position {
  readonly identityHolds: boolean;
}

/** The accounts of all streams and whether credits and gaps agree with them. */
export interface Accounts {
  readonly streams: readonly Account[];
  /** What does not agree, one line each; empty when the books balance. */
  readonly disagreements: readonly string[];
}

/** Reads the accounts in one snapshot and checks them against credits and gaps. */
export async function readAccounts(sql: Sql): Promise<Accounts> {
  const [rows, [sums], gapRows, riskRows] = await sql.begin(
    "isolation level repeatable read",
    async (tx) =>
      [
        await tx<PositionRow[]>`select * from royalty.stream_position order by stream`,
        await tx<{ events: string; ms: string }[]>`
      select coalesce(sum(events), 0)::text as events, coalesce(sum(ms_watched), 0)::text as ms
      from royalty.accrual`,
        await tx<{ stream: string; missing: string }[]>`
      select stream, sum(last_seq - first_seq + 1)::text as missing
      from royalty.gap group by stream`,
        await tx<{ stream: string; entries: string }[]>`
      select stream, sum(entries)::text as entries from royalty.quarantined group by stream`,
      ] as const,
  );
  const streams = rows.map(positionOf).map((position) => ({
    ...position,
    identityHolds: position.lastSeq ===
      position.counted + position.duplicates + position.quarantined + position.gaps,
  }));
  const missing = new Map(gapRows.map((row) => [row.stream, Number(row.missing)]));
  const entries = new Map(riskRows.map((row) => [row.stream, Number(row.entries)]));
  return { streams, disagreements: disagreements(streams, sums, missing, entries) };
}

function disagreements(
  streams: readonly Position[],
  sums: { readonly events: string; readonly ms: string },
  missing: ReadonlyMap<string, number>,
  entries: ReadonlyMap<string, number>,
): string[] {
  const counted = streams.reduce((sum, each) => sum + BigInt(each.counted), 0n);
  const creditedMs = streams.reduce((sum, each) => sum + each.creditedMs, 0n);
  const pairs: [string, bigint, bigint][] = [
    ...streams.map(({ stream, lastSeq, ...account }): [string, bigint, bigint] => [
      `last_seq of ${stream} and the sum of its outcomes`,
      BigInt(lastSeq),
      BigInt(account.counted + account.duplicates + account.quarantined + account.gaps),
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
  ];
  return pairs.filter(([, a, b]) => a !== b).map(([what, a, b]) => `${what} differ: ${a} and ${b}`);
}
