/**
 * Reads stored statements.
 *
 * @module
 */
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import type { Queryable } from "../../shared/process/postgres/pool.ts";
import type { StoredStatement } from "../statement/chain.ts";
import { type StatementLine, UNMAPPED } from "../statement/statement_csv.ts";
import type { StatementLink } from "../statement/manifest.ts";

/** A stored statement without its bytes. */
export interface StatementEntry extends StatementLink {
  /** Its place in the chain. */
  readonly ordinal: number;
  /** SHA-256 of its CSV. */
  readonly csvSha256: string;
  /** The last act that its manifest, or one before it, names; 0: none. */
  readonly lastAct: number;
}

interface EntryRow {
  readonly day: string;
  readonly version: number;
  readonly sha256: string;
  readonly manifest_sha256: string;
  readonly ordinal: string;
  readonly last_act: string;
}

/**
 * Reads statements without their bytes, last issued first: of one day (`YYYY-MM-DD`) or of the whole
 * chain, at most `limit`.
 */
export async function readEntries(
  sql: Queryable,
  day?: string,
  limit?: number,
): Promise<StatementEntry[]> {
  const rows = await sql<EntryRow[]>`
    select recognised_day::text as day, version, sha256, manifest_sha256, ordinal,
      last_act
    from royalty.statement
    where ${day ?? null}::text is null or recognised_day = ${day ?? null}::text::date
    order by ordinal desc limit ${limit ?? null}`;
  return rows.map((row) => ({
    recognised_day: row.day,
    version: row.version,
    sha256: row.manifest_sha256,
    csvSha256: row.sha256,
    ordinal: Number(row.ordinal),
    lastAct: Number(row.last_act),
  }));
}

interface LastCloseRow {
  readonly closed_at: Date | null;
}

/** When the newest statement was issued, ms since the epoch; undefined before the first. */
export async function readLastCloseMs(sql: Queryable): Promise<number | undefined> {
  const rows = await sql<LastCloseRow[]>`select max(closed_at) as closed_at from royalty.statement`;
  return onlyRow(rows, "the last close").closed_at?.getTime();
}

/** Reads a statement: the given version, or the newest; undefined when it does not exist. */
export async function readStored(
  sql: Queryable,
  day: string,
  version?: number,
): Promise<StoredStatement | undefined> {
  const [row] = await sql<StoredRow[]>`
    select recognised_day::text as day, version, csv, manifest, sha256, manifest_sha256,
      previous_sha256, rows, events, ms_watched
    from royalty.statement
    where recognised_day = ${day}::text::date
      and (${version ?? null}::int is null or version = ${version ?? null}::int)
    order by version desc limit 1`;
  return row && {
    day: row.day,
    version: row.version,
    // Copied, because the driver's buffers are views on its receive buffer.
    csv: new Uint8Array(row.csv),
    manifest: new Uint8Array(row.manifest),
    sha256: row.sha256,
    manifestSha256: row.manifest_sha256,
    previousSha256: row.previous_sha256 ?? undefined,
    rows: Number(row.rows),
    events: BigInt(row.events),
    ms: BigInt(row.ms_watched),
  };
}

interface StoredRow {
  readonly day: string;
  readonly version: number;
  readonly csv: Uint8Array;
  readonly manifest: Uint8Array;
  readonly sha256: string;
  readonly manifest_sha256: string;
  /** Null for the first statement of the chain. */
  readonly previous_sha256: string | null;
  readonly rows: string;
  readonly events: string;
  readonly ms_watched: string;
}

/** Reads a statement that exists, such as one from {@link readEntries}. Rejects when it does not. */
export async function readIssued(
  sql: Queryable,
  day: string,
  version?: number,
): Promise<StoredStatement> {
  const stored = await readStored(sql, day, version);
  if (stored === undefined) throw new Error(`the books have no statement of ${day}`);
  return stored;
}

interface LineRow {
  readonly event_day: string;
  readonly studio: string;
  readonly title_id: string;
  readonly territory: string;
  readonly events: string;
  readonly ms_watched: string;
}

/** Reads the lines of a statement in its order: all of them, or those of one studio. */
export async function readStatementLines(
  sql: Queryable,
  day: string,
  version: number,
  studio?: string,
): Promise<StatementLine[]> {
  const rows = await sql<LineRow[]>`
    select event_day::text, studio, title_id, territory, events, ms_watched
    from royalty.statement_line
    where recognised_day = ${day}::text::date and version = ${version}
      and (${studio ?? null}::text is null or studio = ${studio ?? null}::text)
    order by event_day desc, (studio = ${UNMAPPED}), studio collate "C", title_id collate "C",
      territory collate "C"`;
  return rows.map((row) => ({
    recognisedDay: day,
    eventDay: row.event_day,
    studio: row.studio === UNMAPPED ? undefined : row.studio,
    titleId: row.title_id,
    territory: row.territory,
    events: BigInt(row.events),
    msWatched: BigInt(row.ms_watched),
  }));
}
