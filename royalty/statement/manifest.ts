/**
 * What goes with a statement: control totals, where every event of it came from, hashes. JSON that
 * is made once and then only ever copied.
 *
 * Statements are a chain: each manifest names the hash of the manifest before it, so none can be
 * changed, left out or put in between without every later one saying so.
 *
 * Pure.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { DeviceLossEstimate } from "./device_loss.ts";
import { lineType, type StatementLine } from "./csv.ts";

/** Changes when the same events would earn other minutes. */
export const RULE_VERSION = "1";
const FORMAT = "twofold-statement-manifest/1";

/** The part of a stream that a statement covers: `last_seq - first_seq + 1` is the sum of the rest. */
export interface StreamRange {
  readonly stream: string;
  readonly first_seq: number;
  /** Below `first_seq` when nothing came. */
  readonly last_seq: number;
  readonly counted: number;
  readonly duplicates: number;
  readonly quarantined: number;
  readonly gaps: number;
}

/** Quarantined events of one reason; `ms_at_risk` of the `readable` ones. */
export interface QuarantinedSum {
  readonly reason: string;
  readonly entries: number;
  readonly readable: number;
  readonly ms_at_risk: number;
}

export interface SettledGap {
  readonly stream: string;
  readonly first_seq: number;
  readonly last_seq: number;
  readonly by: string;
  readonly reason: string;
  /** ISO 8601. */
  readonly at: string;
}

/** The day derived once more, or who decided to do without. */
export type RecountNote =
  | {
    readonly method: string;
    readonly events: number;
    readonly ms: number;
    /** Reported, never credited. */
    readonly device_loss: DeviceLossEstimate;
    readonly seconds: number;
  }
  | { readonly waived_by: string; readonly reason: string };

/** A statement that this one follows or replaces. */
export interface StatementLink {
  readonly recognised_day: string;
  readonly version: number;
  /** Of its manifest. */
  readonly sha256: string;
}

/** What a manifest is made from. */
export interface ManifestBasis {
  readonly day: string;
  readonly version: number;
  readonly zone: string;
  readonly graceMs: number;
  /** As of when, ms since the epoch. */
  readonly closedAt: number;
  readonly lines: readonly StatementLine[];
  readonly csv: Uint8Array;
  readonly streams: readonly StreamRange[];
  readonly quarantined: readonly QuarantinedSum[];
  readonly settledGaps: readonly SettledGap[];
  readonly recount: RecountNote | null;
  readonly previous: StatementLink | null;
  readonly replaces: StatementLink & { readonly reason: string } | null;
}

/** SHA-256, lower-case hex. */
export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The manifest, as the bytes of every download. */
export function manifestOf(basis: ManifestBasis): Uint8Array<ArrayBuffer> {
  const { lines, streams, quarantined } = basis;
  const all = totalsOf(lines);
  const late = totalsOf(lines.filter((line) => lineType(line) === "ADJUSTMENT"));
  const manifest = {
    format: FORMAT,
    recognised_day: basis.day,
    version: basis.version,
    zone: basis.zone,
    grace_ms: basis.graceMs,
    rule_version: RULE_VERSION,
    closed_at: new Date(basis.closedAt).toISOString(),
    row_count: all.rows,
    total_events: all.events,
    total_ms: all.ms,
    adjustments: late,
    duplicates_absorbed: sum(streams, ({ duplicates }) => duplicates),
    quarantined: sum(streams, (each) => each.quarantined),
    // Royalty sees no repairs: an event that is replayed later counts in a later statement.
    quarantined_unresolved: {
      entries: sum(quarantined, ({ entries }) => entries),
      ms_at_risk: sum(quarantined, ({ ms_at_risk }) => ms_at_risk),
      by_reason: quarantined,
    },
    streams,
    settled_gaps: basis.settledGaps,
    recount: basis.recount,
    csv: { sha256: sha256(basis.csv), bytes: basis.csv.length },
    previous: basis.previous,
    replaces: basis.replaces,
  };
  return new TextEncoder().encode(`${JSON.stringify(manifest, null, 2)}\n`);
}

/** Control totals of `lines`. A day's sums stay far below the integers that JSON readers hold. */
export function totalsOf(
  lines: readonly Pick<StatementLine, "events" | "msWatched">[],
): { readonly rows: number; readonly events: number; readonly ms: number } {
  return {
    rows: lines.length,
    events: exact(lines.reduce((total, { events }) => total + events, 0n)),
    ms: exact(lines.reduce((total, { msWatched }) => total + msWatched, 0n)),
  };
}

function exact(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError(`${value} is not a day's sum`);
  return Number(value);
}

function sum<T>(items: readonly T[], read: (item: T) => number): number {
  return items.reduce((total, item) => total + read(item), 0);
}
