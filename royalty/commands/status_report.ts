/**
 * `royalty status`, as text and as JSON.
 *
 * Pure.
 *
 * @module
 */
import type { Account, Accounts } from "../books/accounts.ts";

/** Messages behind the books by stream, or why that cannot be told. */
export type Lag = ReadonlyMap<string, number> | string;

const COLUMNS = [
  "stream",
  "last_seq",
  "counted",
  "duplicates",
  "quarantined",
  "gaps",
  "identity",
  "lag",
] as const;

/** A table with a line per stream, then what does not agree. */
export function statusText({ streams, disagreements }: Accounts, lag: Lag): string {
  const rows = [COLUMNS, ...streams.map((account) => cells(account, lag))];
  const widths = COLUMNS.map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const table = rows.map((row) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ")
  );
  const creditedMs = streams.reduce((sum, each) => sum + each.creditedMs, 0n);
  return [
    ...table,
    "",
    `credited ${creditedMs} ms`,
    ...(typeof lag === "string" ? [`lag unknown: ${lag}`] : []),
    "last_seq = counted + duplicates + quarantined + gaps",
    ...disagreements.map((line) => `DISAGREES  ${line}`),
    disagreements.length === 0 ? "the books balance" : "the books do NOT balance",
  ].join("\n");
}

function cells(account: Account, lag: Lag): string[] {
  const { stream, lastSeq, counted, duplicates, quarantined, gaps, identityHolds } = account;
  const behind = typeof lag === "string" ? undefined : lag.get(stream);
  return [
    stream,
    ...[lastSeq, counted, duplicates, quarantined, gaps].map(String),
    identityHolds ? "yes" : "NO",
    behind === undefined ? "?" : String(behind),
  ];
}

/** The same for programs; ms are a string, because they may exceed a JSON reader's integers. */
export function statusJson({ streams, disagreements }: Accounts, lag: Lag): string {
  const report = {
    balanced: disagreements.length === 0,
    disagreements,
    streams: streams.map((account) => ({
      stream: account.stream,
      last_seq: account.lastSeq,
      counted: account.counted,
      duplicates: account.duplicates,
      quarantined: account.quarantined,
      gaps: account.gaps,
      credited_ms: String(account.creditedMs),
      identity_holds: account.identityHolds,
      lag: typeof lag === "string" ? null : lag.get(account.stream) ?? null,
    })),
  };
  return JSON.stringify(report, null, 2);
}
