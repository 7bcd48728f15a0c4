/**
 * Statements as finance reads them: the read-only half of the books, on connections of its own role.
 *
 * @module
 */
import postgres, { type Sql } from "postgres";
import { messageOf, RetryAfter, Stop } from "../../shared/process/errors.ts";
import { FINANCE_ROLE } from "../../shared/provision/roles.ts";
import { connectBooks } from "../books/connection.ts";
import { readRecognisedLines } from "../books/lines.ts";
import type { StatementLine } from "../statement/csv.ts";

/** Which statement: a recognised day and a version of it. */
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

/** A statement as it was issued, without its bytes. */
export interface Issued extends StatementRef, Totals {
  /** SHA-256 of the bytes, lower-case hex. */
  readonly csvSha256: string;
  readonly manifestSha256: string;
  readonly csvBytes: number;
  readonly manifestBytes: number;
  /** Ms since the epoch. */
  readonly closedAt: number;
  /** Why a version beyond the first was issued. */
  readonly reason: string | undefined;
}

/** What one studio has in a statement, and how much of it was watched on earlier days. */
export interface StudioTotals extends Totals {
  readonly studio: string;
  readonly adjustmentMs: bigint;
}

/** What an open day has so far. */
export interface OpenDay extends Totals {
  readonly day: string;
}

/** Where the books are. Undefined days: nothing is closed yet. */
export interface Extent {
  readonly oldestOpenDay: string | undefined;
  /** Days that take no more events and have no statement yet. */
  readonly sealed: readonly string[];
  readonly firstDay: string | undefined;
  readonly lastDay: string | undefined;
}

export type StoredFile = "csv" | "manifest";

/** What the finance API reads. Every method rejects with `RetryAfter` when it cannot be read now. */
export interface StatementStore {
  extent(): Promise<Extent>;
  /** All versions of `days` days, newest day and version first, only days before `before`. */
  issued(days: number, before?: string): Promise<Issued[]>;
  /** The versions of one day, newest first; empty when it is not closed. */
  versions(day: string): Promise<Issued[]>;
  /** `bytes` bytes of a stored file from `offset`. A statement never changes, so parts fit. */
  slice(ref: StatementRef, file: StoredFile, offset: number, bytes: number): Promise<Uint8Array>;
  studios(ref: StatementRef): Promise<StudioTotals[]>;
  /** The lines of one studio, in the order of the statement. */
  studioLines(ref: StatementRef, studio: string): Promise<StatementLine[]>;
  /** The newest `limit` days that have lines and no statement. */
  openDays(limit: number): Promise<OpenDay[]>;
  /** The lines recognised on an open day so far, in the order of a statement. */
  openLines(day: string): Promise<StatementLine[]>;
}

/** Connections that finance may take, and the longest that one statement of SQL may run. */
const POOL = { max: 3, connect_timeout: 5, idle_timeout: 60, fetch_types: false } as const;
const STATEMENT_TIMEOUT_MS = 30_000;

/** A pool of connections of the finance role; apart from the books' own, so it cannot starve them. */
export function connectStatements(url: string): Sql {
  return postgres(url, {
    ...POOL,
    onnotice: () => {},
    connection: {
      application_name: "twofold-finance",
      default_transaction_read_only: true,
      statement_timeout: STATEMENT_TIMEOUT_MS,
    },
  });
}

/** What the finance role may see: statements, and what an open day's lines are made of. */
const READABLE = ["statement", "statement_line", "seal", "books", "accrual", "title"] as const;

/**
 * Lets the finance role read, and nothing else. `url` is that of the books' owner. Idempotent.
 * Rejects with {@link Stop} when the role is not there, with {@link RetryAfter} when Postgres is not.
 */
export async function letFinanceRead(url: string): Promise<void> {
  const sql = connectBooks(url);
  try {
    await sql.begin(async (tx) => {
      // Two grants on one table at a time fail in Postgres ("tuple concurrently updated").
      await tx`select pg_advisory_xact_lock(hashtext('twofold finance grants'))`;
      await tx`grant usage on schema royalty to ${tx(FINANCE_ROLE)}`;
      await tx`grant select on ${tx(READABLE.map((table) => `royalty.${table}`))}
        to ${tx(FINANCE_ROLE)}`;
    });
  } catch (error) {
    if ((error as { code?: unknown }).code !== "42704") throw unavailable(error);
    throw new Stop(
      `Postgres has no role ${FINANCE_ROLE}: set TWOFOLD_POSTGRES_FINANCE_PASSWORD and run ` +
        "`deno task provision`, or unset TWOFOLD_FINANCE_KEYS to run without the finance API",
      { cause: error },
    );
  } finally {
    await sql.end({ timeout: 2 });
  }
}

function unavailable(error: unknown): RetryAfter {
  return new RetryAfter(`Postgres: ${messageOf(error)}`, 5_000, { cause: error });
}

/** {@link StatementStore} in Postgres. */
export class PostgresStatements implements StatementStore {
  constructor(readonly sql: Sql) {}

  async extent(): Promise<Extent> {
    const [row] = await this.#read<ExtentRow>((sql) =>
      sql`
      select (select oldest_open_day::text from royalty.books) as open,
        (select coalesce(string_agg(recognised_day::text, ','), '') from royalty.seal
          where recognised_day not in (select recognised_day from royalty.statement)) as sealed,
        min(recognised_day)::text as first, max(recognised_day)::text as last
      from royalty.statement`
    );
    return {
      oldestOpenDay: row.open ?? undefined,
      sealed: row.sealed.split(",").filter(Boolean),
      firstDay: row.first ?? undefined,
      lastDay: row.last ?? undefined,
    };
  }

  async issued(days: number, before?: string): Promise<Issued[]> {
    const rows = await this.#read<IssuedRow>((sql) =>
      sql`
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
    const rows = await this.#read<IssuedRow>((sql) =>
      sql`
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
    const [row] = await this.#read<{ part: Uint8Array }>((sql) =>
      sql`
      select substring(${sql(file)} from ${offset + 1}::integer for ${bytes}::integer) as part
      from royalty.statement
      where recognised_day = ${day}::text::date and version = ${version}`
    );
    return row.part;
  }

  async studios({ day, version }: StatementRef): Promise<StudioTotals[]> {
    const rows = await this.#read<TotalsRow & { studio: string; late_ms: string }>((sql) =>
      sql`
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
    const rows = await this.#read<LineRow>((sql) =>
      sql`
      select recognised_day::text, event_day::text, studio, title_id, territory, events, ms_watched
      from royalty.statement_line
      where recognised_day = ${day}::text::date and version = ${version} and studio = ${studio}
      order by event_day desc, title_id collate "C", territory collate "C"`
    );
    return rows.map((row) => ({
      recognisedDay: row.recognised_day,
      eventDay: row.event_day,
      studio: row.studio,
      titleId: row.title_id,
      territory: row.territory,
      events: BigInt(row.events),
      msWatched: BigInt(row.ms_watched),
    }));
  }

  async openDays(limit: number): Promise<OpenDay[]> {
    const rows = await this.#read<TotalsRow & { day: string }>((sql) =>
      sql`
      select recognised_day::text as day, count(*) as rows, sum(events)::text as events,
        sum(ms_watched)::text as ms
      from royalty.accrual
      where recognised_day >
        coalesce((select max(recognised_day) from royalty.statement), '-infinity')
      group by recognised_day order by recognised_day desc limit ${limit}`
    );
    return rows.map((row) => ({ day: row.day, ...totalsOf(row) }));
  }

  async openLines(day: string): Promise<StatementLine[]> {
    try {
      return await readRecognisedLines(this.sql, day);
    } catch (error) {
      throw unavailable(error);
    }
  }

  // Whatever fails here is Postgres: nothing a caller of the API asks for becomes SQL.
  async #read<R>(query: (sql: Sql) => PromiseLike<readonly unknown[]>): Promise<readonly R[]> {
    try {
      return await query(this.sql) as readonly R[];
    } catch (error) {
      throw unavailable(error);
    }
  }
}

interface ExtentRow {
  open: string | null;
  sealed: string;
  first: string | null;
  last: string | null;
}

interface TotalsRow {
  rows: string;
  events: string;
  ms: string;
}

interface IssuedRow extends TotalsRow {
  day: string;
  version: number;
  sha256: string;
  manifest_sha256: string;
  csv_bytes: number;
  manifest_bytes: number;
  closed_ms: string;
  reason: string | null;
}

interface LineRow {
  recognised_day: string;
  event_day: string;
  studio: string;
  title_id: string;
  territory: string;
  events: string;
  ms_watched: string;
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
    closedAt: Number(row.closed_ms),
    reason: row.reason ?? undefined,
  };
}

function totalsOf({ rows, events, ms }: TotalsRow): Totals {
  return { rows: Number(rows), events: BigInt(events), msWatched: BigInt(ms) };
}
