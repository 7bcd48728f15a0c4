/**
 * Statements as they are stored.
 *
 * @module
 */
import type { Queryable } from "../../shared/process/postgres/pool.ts";
import type { StoredStatement } from "../statement/chain.ts";
import { type StatementLine, UNMAPPED } from "../statement/csv.ts";
import type { StatementLink } from "../statement/manifest.ts";

/** A statement without its bytes. */
export interface StatementEntry extends StatementLink {
  readonly ordinal: number;
  readonly csvSha256: string;
}

interface EntryRow {
  readonly day: string;
  readonly version: number;
  readonly sha256: string;
  readonly manifest_sha256: string;
  readonly ordinal: string;
}

/** Statements without their bytes, newest first: of one day or of the whole chain. */
export async function readEntries(
  sql: Queryable,
  day?: string,
  limit?: number,
): Promise<StatementEntry[]> {
  const rows = await sql<EntryRow[]>`
    select recognised_day::text as day, version, sha256, manifest_sha256, ordinal
    from royalty.statement
    where ${day ?? null}::text is null or recognised_day = ${day ?? null}::text::date
    order by ordinal desc limit ${limit ?? null}`;
  return rows.map((row) => ({
    recognised_day: row.day,
    version: row.version,
    sha256: row.manifest_sha256,
    csvSha256: row.sha256,
    ordinal: Number(row.ordinal),
  }));
}

/** One statement as it is stored: the given version, or the newest; undefined when there is none. */
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
    // Copied, because the driver's buffers are views on what it received.
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
  /** Null for the first of the chain. */
  readonly previous_sha256: string | null;
  readonly rows: string;
  readonly events: string;
  readonly ms_watched: string;
}

/** A statement that is known to be there, such as one that {@link readEntries} names. */
export async function readIssued(
  sql: Queryable,
  day: string,
  version?: number,
): Promise<StoredStatement> {
  const stored = await readStored(sql, day, version);
  if (stored === undefined) throw new Error(`the statement of ${day} is not in the books any more`);
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

/** The lines kept of a statement, in its order; those of one studio if it is named. */
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
