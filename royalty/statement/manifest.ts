/**
 * The manifest of a statement: control totals, the sequence range of every stream, hashes. It is
 * JSON that is made once and then only copied.
 *
 * Statements form a hash chain: each manifest contains the hash of the manifest before it, so a
 * statement cannot be changed, removed or inserted without breaking every later link.
 *
 * Pure.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { DeviceLossEstimate } from "./device_loss.ts";
import { lineType, type StatementLine } from "./statement_csv.ts";

/** Incremented when the same events would be credited with different minutes. */
export const RULE_VERSION = "2";
const FORMAT = "twofold-statement-manifest/1";

/** The part of a stream that a statement covers: `events` is the sum of the rest, without gaps. */
export interface StreamRange {
  readonly stream: string;
  readonly first_seq: number;
  /** `first_seq - 1` when the range is empty. */
  readonly last_seq: number;
  /** Events in the messages of the range; left out when each of them has one. */
  readonly events?: number | undefined;
  readonly counted: number;
  readonly duplicates: number;
  readonly quarantined: number;
  /** Messages of the range that the stream lost. */
  readonly gaps: number;
  /** Canaries, which are never credited; left out when there are none. */
  readonly canaries?: number | undefined;
}

/**
 * Quarantined events of one reason. `readable` of them had a valid `played_ms`; `ms_at_risk` is the
 * sum over those.
 */
export interface QuarantinedSum {
  readonly reason: string;
  readonly entries: number;
  readonly readable: number;
  readonly ms_at_risk: number;
}

/** Lost sequences, from `first_seq` to `last_seq`, and the person who settled them. */
export interface SettledGap {
  readonly stream: string;
  readonly first_seq: number;
  readonly last_seq: number;
  readonly by: string;
  readonly reason: string;
  /** ISO 8601. */
  readonly at: string;
}

/** The result of the recount, or who decided to close without one. */
export type RecountNote =
  | {
    readonly method: string;
    readonly events: number;
    readonly ms: number;
    /** Heartbeats that devices lost: reported, never credited. */
    readonly device_loss: DeviceLossEstimate;
    readonly seconds: number;
  }
  | { readonly waived_by: string; readonly reason: string };

/** What a person decided, or what was issued, since the statement before. */
export interface StatedAct {
  /** ISO 8601, by the clock of Postgres; `role` is that of the session. */
  readonly at: string;
  readonly role: string;
  readonly kind: string;
  readonly by: string;
  readonly subject: string;
  readonly reason: string | null;
  /** SHA-256 of what was changed. */
  readonly before: string | null;
  readonly after: string | null;
}

/** A statement that this one follows or replaces. */
export interface StatementLink {
  readonly recognised_day: string;
  readonly version: number;
  /** SHA-256 of its manifest, lower-case hex. */
  readonly sha256: string;
}

/** The input of {@link manifestOf}. */
export interface ManifestBasis {
  readonly day: string;
  readonly version: number;
  readonly zone: string;
  readonly graceMs: number;
  /** The instant as of which the day was closed, ms since the epoch. */
  readonly closedAtMs: number;
  /** When it took its last credit, by the clock of Postgres, ms since the epoch. */
  readonly sealedAtMs: number;
  /** When this version was issued, by the same clock, and by whom. */
  readonly issuedAtMs: number;
  readonly issuedBy: string;
  readonly acts: readonly StatedAct[];
  readonly lines: readonly StatementLine[];
  readonly csv: Uint8Array;
  readonly streams: readonly StreamRange[];
  readonly quarantined: readonly QuarantinedSum[];
  readonly settledGaps: readonly SettledGap[];
  readonly recount: RecountNote | null;
  readonly previous: StatementLink | null;
  readonly replaces: StatementLink & { readonly reason: string } | null;
}

/** SHA-256 of `bytes`, lower-case hex. */
export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The manifest as JSON in UTF-8; these bytes are stored, hashed and served. */
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
    closed_at: new Date(basis.closedAtMs).toISOString(),
    sealed_at: new Date(basis.sealedAtMs).toISOString(),
    issued_at: new Date(basis.issuedAtMs).toISOString(),
    issued_by: basis.issuedBy,
    row_count: all.rows,
    total_events: all.events,
    total_ms: all.ms,
    adjustments: late,
    duplicates_absorbed: sum(streams, ({ duplicates }) => duplicates),
    quarantined: sum(streams, (each) => each.quarantined),
    // All of them: an event that is replayed later counts in a later statement.
    quarantined_unresolved: {
      entries: sum(quarantined, ({ entries }) => entries),
      ms_at_risk: sum(quarantined, ({ ms_at_risk }) => ms_at_risk),
      by_reason: quarantined,
    },
    streams,
    settled_gaps: basis.settledGaps,
    acts: basis.acts,
    recount: basis.recount,
    csv: { sha256: sha256(basis.csv), bytes: basis.csv.length },
    previous: basis.previous,
    replaces: basis.replaces,
  };
  return new TextEncoder().encode(`${JSON.stringify(manifest, null, 2)}\n`);
}

/** Control totals of `lines`. Throws `RangeError` when a sum is not a safe integer. */
export function totalsOf(
  lines: readonly Pick<StatementLine, "events" | "msWatched">[],
): { readonly rows: number; readonly events: number; readonly ms: number } {
  return {
    rows: lines.length,
    events: toSafeInteger(lines.reduce((total, { events }) => total + events, 0n)),
    ms: toSafeInteger(lines.reduce((total, { msWatched }) => total + msWatched, 0n)),
  };
}

function toSafeInteger(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new RangeError(`the sum ${value} exceeds the safe integers`);
  }
  return Number(value);
}

function sum<T>(items: readonly T[], read: (item: T) => number): number {
  return items.reduce((total, item) => total + read(item), 0);
}
