/**
 * Reads statements for the finance API, with its own read-only role and connections.
 *
 * @module
 */
import type { Sql } from "postgres";
import { messageOf, Stop } from "../../shared/process/errors.ts";
import { retryable, stateOf, withRetryable } from "../../shared/process/postgres/transient.ts";
import { openPool } from "../../shared/process/postgres/pool.ts";
import { FINANCE_ROLE } from "../../shared/provision/roles.ts";
import { readRecognisedLines } from "../books/lines.ts";
import { readStatementLines } from "../books/statements.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import type { StatementLine } from "../statement/statement_csv.ts";

/** Identifies a statement: a recognised day, `YYYY-MM-DD`, and a version. */
export interface StatementRef {
  readonly day: string;
  readonly version: number;
}

/** Sums over lines. */
export interface Totals {
  readonly rows: number;
  readonly events: bigint;
  readonly msWatched: bigint;
}

/** An issued statement without its bytes. */
export interface Issued extends StatementRef, Totals {
  /** SHA-256, lower-case hex; so is `manifestSha256`. */
  readonly csvSha256: string;
  readonly manifestSha256: string;
  readonly csvBytes: number;
  readonly manifestBytes: number;
  /** Ms since the epoch. */
  readonly closedAtMs: number;
  /** Why this version was issued; undefined for version 1. */
  readonly reason: string | undefined;
}

/** The sums of one studio in a statement. */
export interface StudioTotals extends Totals {
  readonly studio: string;
  /** The part of `msWatched` that was watched on earlier days. */
  readonly adjustmentMs: bigint;
}

/** The sums of an open day so far. */
export interface OpenDay extends Totals {
  readonly day: string;
}

/** Which days have statements. The days are undefined before the first close. */
export interface Extent {
  readonly oldestOpenDay: string | undefined;
  /** Sealed days that have no statement yet. */
  readonly sealed: readonly string[];
  /** The first and the last day that have a statement. */
  readonly firstDay: string | undefined;
  readonly lastDay: string | undefined;
}

/** A file of a statement. */
export type StoredFile = "csv" | "manifest";

/** What the finance API reads. Every method rejects with `RetryAfter` when the store is away. */
export interface StatementStore {
  /** Which days have statements. */
  extent(): Promise<Extent>;
  /** All versions of the `days` newest days before `before`, newest day and version first. */
  issued(days: number, before?: string): Promise<Issued[]>;
  /** The versions of one day, newest first; empty when it is not closed. */
  versions(day: string): Promise<Issued[]>;
  /** At most `bytes` bytes of a stored file from `offset` on. */
  slice(ref: StatementRef, file: StoredFile, offset: number, bytes: number): Promise<Uint8Array>;
  /** The sums of every studio in a statement, by studio. */
  studios(ref: StatementRef): Promise<StudioTotals[]>;
  /** The lines of one studio, in the order of the statement. */
  studioLines(ref: StatementRef, studio: string): Promise<StatementLine[]>;
  /** The newest `limit` days that have lines and no statement. */
  openDays(limit: number): Promise<OpenDay[]>;
  /** The lines recognised on an open day so far, in the order of a statement. */
  openLines(day: string): Promise<StatementLine[]>;
}

/** Maximum run time of one SQL statement. */
const STATEMENT_TIMEOUT_MS = 30_000;
/** Suggested wait while statements cannot be read. */
const RETRY_MS = 5_000;

/** Opens a pool of read-only connections with the finance role. */
export function connectStatements(url: string): Sql {
  return openPool(url, {
    purpose: "finance",
    max: 3,
    silenceMs: STATEMENT_TIMEOUT_MS + 5_000,
    settings: { default_transaction_read_only: true, statement_timeout: STATEMENT_TIMEOUT_MS },
  });
}

/** SQLSTATEs of a role or a right that is missing. */
const NOT_PROVISIONED = /^(28|42501)/;

/**
 * Checks that the role of `url` may read statements.
 *
 * @throws {Stop} when the role or its rights are missing
 * @throws {RetryAfter} while Postgres is away
 */
export async function checkFinanceRead(url: string): Promise<void> {
  const sql = connectStatements(url);
  try {
    await sql<ReadableRow[]>`
      select exists (select from royalty.statement, royalty.statement_line, royalty.seal,
        royalty.books, royalty.day_line where false) as found`;
  } catch (error) {
    if (!NOT_PROVISIONED.test(stateOf(error) ?? "")) throw retryable(error, RETRY_MS);
    throw new Stop(
      `Postgres does not let ${FINANCE_ROLE} read statements (${messageOf(error)}): set ` +
        "TWOFOLD_POSTGRES_FINANCE_PASSWORD and run `deno task provision`, or unset " +
        "TWOFOLD_FINANCE_KEYS to run without the finance API",
      { cause: error },
    );
  } finally {
    await sql.end({ timeout: 2 });
  }
}

interface ReadableRow {
  readonly found: boolean;
}

/** {@link StatementStore} in Postgres. */
export class PostgresStatements implements StatementStore {
  constructor(readonly sql: Sql) {}

  async extent(): Promise<Extent> {
    const rows = await this.#read((sql) =>
      sql<ExtentRow[]>`
      select (select oldest_open_day::text from royalty.books) as open,
        (select coalesce(string_agg(recognised_day::text, ',' order by recognised_day), '') from royalty.seal
          where recognised_day not in (select recognised_day from royalty.statement)) as sealed,
        min(recognised_day)::text as first, max(recognised_day)::text as last
      from royalty.statement`
    );
    const row = onlyRow(rows, "the extent of the books");
    return {
      oldestOpenDay: row.open ?? undefined,
      sealed: row.sealed.split(",").filter(Boolean),
      firstDay: row.first ?? undefined,
      lastDay: row.last ?? undefined,
    };
  }

  async issued(days: number, before?: string): Promise<Issued[]> {
    const rows = await this.#read((sql) =>
      sql<IssuedRow[]>`
      select ${issuedColumns(sql)} from royalty.statement
      where recognised_day in (
        select distinct recognised_day from royalty.statement
        where ${before ?? null}::text is null or recognised_day < ${before ?? null}::text::date
        order by recognised_day desc limit ${days})
      order by recognised_day desc, version desc`
    );
    return rows.map(issuedOf);
  }

  async versions(day: string): Promise<Issued[]> {
    const rows = await this.#read((sql) =>
      sql<IssuedRow[]>`
      select ${issuedColumns(sql)} from royalty.statement
      where recognised_day = ${day}::text::date order by version desc`
    );
    return rows.map(issuedOf);
  }

  async slice(
    { day, version }: StatementRef,
    file: StoredFile,
    offset: number,
    bytes: number,
  ): Promise<Uint8Array> {
    const rows = await this.#read((sql) =>
      sql<PartRow[]>`
      select substring(${sql(file)} from ${offset + 1}::integer for ${bytes}::integer) as part
      from royalty.statement
      where recognised_day = ${day}::text::date and version = ${version}`
    );
    return onlyRow(rows, `the ${file} of ${day}, version ${version}`).part;
  }

  async studios({ day, version }: StatementRef): Promise<StudioTotals[]> {
    const rows = await this.#read((sql) =>
      sql<StudioRow[]>`
      select studio, count(*) as rows, sum(events)::text as events, sum(ms_watched)::text as ms,
        coalesce(sum(ms_watched) filter (where line_type = 'ADJUSTMENT'), 0)::text as late_ms
      from royalty.statement_line
      where recognised_day = ${day}::text::date and version = ${version}
      group by studio order by studio collate "C"`
    );
    return rows.map((row) => ({
      studio: row.studio,
      ...totalsOf(row),
      adjustmentMs: BigInt(row.late_ms),
    }));
  }

  async studioLines({ day, version }: StatementRef, studio: string): Promise<StatementLine[]> {
    return await this.#read((sql) => readStatementLines(sql, day, version, studio));
  }

  async openDays(limit: number): Promise<OpenDay[]> {
    const rows = await this.#read((sql) =>
      sql<OpenDayRow[]>`
      select recognised_day::text as day, count(*) as rows, sum(events)::text as events,
        sum(ms_watched)::text as ms
      from royalty.accrual
      where recognised_day >
        coalesce((select max(recognised_day) from royalty.statement), '-infinity'::date)
      group by recognised_day order by recognised_day desc limit ${limit}`
    );
    return rows.map((row) => ({ day: row.day, ...totalsOf(row) }));
  }

  async openLines(day: string): Promise<StatementLine[]> {
    return await this.#read((sql) => readRecognisedLines(sql, day));
  }

  #read<T>(query: (sql: Sql) => PromiseLike<T>): Promise<T> {
    return withRetryable(() => query(this.sql), RETRY_MS);
  }
}

interface ExtentRow {
  readonly open: string | null;
  readonly sealed: string;
  readonly first: string | null;
  readonly last: string | null;
}

interface PartRow {
  readonly part: Uint8Array;
}

interface TotalsRow {
  readonly rows: string;
  readonly events: string;
  readonly ms: string;
}

interface StudioRow extends TotalsRow {
  readonly studio: string;
  readonly late_ms: string;
}

interface OpenDayRow extends TotalsRow {
  readonly day: string;
}

interface IssuedRow extends TotalsRow {
  readonly day: string;
  readonly version: number;
  readonly sha256: string;
  readonly manifest_sha256: string;
  readonly csv_bytes: number;
  readonly manifest_bytes: number;
  readonly closed_ms: string;
  readonly reason: string | null;
}

function issuedColumns(sql: Sql) {
  return sql`
    recognised_day::text as day, version, sha256, manifest_sha256, octet_length(csv) as csv_bytes,
    octet_length(manifest) as manifest_bytes, rows, events, ms_watched::text as ms,
    floor(extract(epoch from closed_at) * 1000)::text as closed_ms, reason`;
}

function issuedOf(row: IssuedRow): Issued {
  return {
    day: row.day,
    version: row.version,
    csvSha256: row.sha256,
    manifestSha256: row.manifest_sha256,
    csvBytes: row.csv_bytes,
    manifestBytes: row.manifest_bytes,
    ...totalsOf(row),
    closedAtMs: Number(row.closed_ms),
    reason: row.reason ?? undefined,
  };
}

function totalsOf({ rows, events, ms }: TotalsRow): Totals {
  return { rows: Number(rows), events: BigInt(events), msWatched: BigInt(ms) };
}
