/**
 * Closes days and issues statements: check and seal → recount → issue → write files.
 *
 * Each step is safe to repeat and finds out what is done already, so a close may be killed anywhere
 * and run again, by another process on another machine too. Only one closes at a time; the others
 * wait for it and then find its statement.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import { messageOf, Refused } from "../../shared/process/errors.ts";
import { pause } from "../../shared/process/retry.ts";
import { readDayLines } from "../books/lines.ts";
import { withRetryable } from "../../shared/process/postgres/passing.ts";
import { patiently } from "../../shared/process/postgres/pool.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import { readEntries, readIssued, readStored, type StatementEntry } from "../books/statements.ts";
import {
  type ClosingState,
  issue,
  type IssueBasis,
  type NewStatement,
  readClosingState,
  sealDay,
} from "./seals.ts";
import { BusinessCalendar, nextDay } from "../statement/business_day.ts";
import type { StoredStatement } from "../statement/chain.ts";
import type { Recount } from "../recount/day.ts";
import { differences } from "../statement/day_line.ts";
import { type CloseRequest, nextToClose, obstaclesTo, refusalText } from "./conditions.ts";
import { connectBooks, WHOLE_DAY_MS } from "../books/connection.ts";
import { manifestOf, type RecountNote, sha256, totalsOf } from "../statement/manifest.ts";
import { statementCsv } from "../statement/csv.ts";
import type { StatementFiles } from "../statement/files.ts";

const LOCK_POLL_MS = 250;
const MOST_DIFFERENCES_NAMED = 10;
/** The furthest ahead of the clock that a day may be closed. */
const MOST_AHEAD_MS = 7 * 86_400_000;

/** What closing works with. */
export interface CloserOptions {
  readonly databaseUrl: string;
  readonly graceMs: number;
  /** Ms since the epoch. */
  readonly now: () => number;
  /** The last sequence of each stream, asked when called. */
  readonly streamEnds: () => Promise<ReadonlyMap<string, number>>;
  /** Undefined: days close without a recount. */
  readonly recount?: Recount | undefined;
  /** Undefined: statements are kept in Postgres only. */
  readonly files?: StatementFiles | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Who decided to close without a recount, and why. */
export interface Waiver {
  readonly by: string;
  readonly reason: string;
}

/** What came of it; `filesMissing` says why the files could not be written. */
export interface Closed {
  readonly outcome: "closed" | "closed before" | "issued again";
  readonly statement: StoredStatement;
  readonly filesMissing: string | undefined;
}

/** The day that closes next, and when it may. */
export interface NextClose {
  readonly day: string;
  /** End of the day plus grace, ms since the epoch. */
  readonly due: number;
}

/**
 * Closes and reissues. Rejects with {@link Refused} when that must not be, naming what to do, and
 * with `RetryAfter` while Postgres cannot be used.
 */
export class Closer {
  constructor(readonly options: CloserOptions) {}

  /** The day that closes next; undefined while nothing was ever credited. */
  async next(): Promise<NextClose | undefined> {
    return await this.#withBooks(async (sql) => {
      const state = await readClosingState(sql);
      const day = state.sealedDay ?? nextToClose(state);
      return day === undefined ? undefined : { day, due: this.#due(state, day) };
    });
  }

  /**
   * Closes `day`, as of now or another instant. A day that is closed already is not closed again;
   * files that are missing are written.
   */
  async close(day: string, asOf?: number, waiver?: Waiver): Promise<Closed> {
    const { graceMs } = this.options;
    this.#checkAsOf(asOf);
    return await this.#alone(async (sql) => {
      const stored = await readStored(sql, day);
      if (stored) return await this.#withFiles("closed before", stored);
      await this.#seal(sql, day, asOf);
      const recount = waiver
        ? { waived_by: waiver.by, reason: waiver.reason }
        : await this.#recount(sql, day);
      await issue(sql, day, (basis) => {
        if (basis.newest) return undefined;
        const closedAt = basis.sealedAsOf;
        return compose(day, basis, { closedAt, graceMs, recount, reason: null });
      });
      return await this.#withFiles("closed", await readIssued(sql, day));
    });
  }

  /** Issues `day` again with the present catalogue; refused when nothing has changed. */
  async reissue(day: string, reason: string): Promise<Closed> {
    return await this.#alone(async (sql) => {
      const stored = await readStored(sql, day);
      if (!stored) {
        throw new Refused(
          `${day} has no statement to issue again; deno task royalty close makes it`,
        );
      }
      const { recount, grace_ms } = JSON.parse(new TextDecoder().decode(stored.manifest));
      const issued = await issue(sql, day, (basis) => {
        const next = compose(day, basis, {
          closedAt: this.options.now(),
          graceMs: grace_ms,
          recount,
          reason,
        });
        return next.sha256 === basis.newest?.csvSha256 ? undefined : next;
      });
      if (!issued) {
        throw new Refused(
          `the statement of ${day} would be the same as version ${stored.version}; nothing is ` +
            "issued. Correct the catalogue first (deno task royalty catalogue)",
        );
      }
      return await this.#withFiles("issued again", await readIssued(sql, day));
    });
  }

  /** Writes every file that is missing; returns how many statements were written. */
  async restoreFiles(): Promise<number> {
    const { files } = this.options;
    if (!files) return 0;
    await files.sweep(this.options.now());
    return await this.#withBooks(async (sql) => {
      let written = 0;
      for (const { recognised_day: day, version } of await readEntries(sql)) {
        if (await files.has({ day, version })) continue;
        await files.write(await readIssued(sql, day, version));
        written += 1;
      }
      return written;
    });
  }

  #checkAsOf(asOf: number | undefined): void {
    const latest = this.options.now() + MOST_AHEAD_MS;
    if (asOf === undefined || asOf <= latest) return;
    throw new Refused(
      `as of ${new Date(asOf).toISOString()} is more than seven days ahead of the clock; days ` +
        `can be closed as of ${new Date(latest).toISOString()} at the latest`,
    );
  }

  async #seal(sql: Sql, day: string, asOf: number | undefined): Promise<void> {
    const state = await readClosingState(sql);
    const asked = this.options.now();
    const request: CloseRequest = { day, asOf: asOf ?? asked, due: this.#due(state, day) };
    const ends = await this.options.streamEnds();
    await sealDay(sql, day, nextDay(day), request.asOf, ends, (books) => {
      const obstacles = obstaclesTo(request, books);
      if (obstacles.length > 0) throw new Refused(refusalText(day, obstacles));
    });
  }

  #due({ zone }: Pick<ClosingState, "zone">, day: string): number {
    return new BusinessCalendar(zone).endOf(day) + this.options.graceMs;
  }

  // The day is sealed, so neither side moves while it is counted.
  async #recount(sql: Sql, day: string): Promise<RecountNote | null> {
    const { recount } = this.options;
    if (!recount) return null;
    const { method, lines, deviceLoss, seconds } = await recount(day).catch((error) => {
      if (!(error instanceof Refused)) throw error;
      throw new Refused(
        `${day} is not closed: ${error.message}. It takes no more credits. A named person may ` +
          "close it all the same: deno task royalty close with --without-recount REASON --by PERSON",
        { cause: error },
      );
    });
    const booked = await patiently(sql, WHOLE_DAY_MS, () => readDayLines(sql, day));
    const differing = differences(booked, lines);
    if (differing.length > 0) {
      const named = differing.slice(0, MOST_DIFFERENCES_NAMED);
      const more = differing.length - named.length;
      throw new Refused(
        `${day} is not closed: the recount of the raw streams differs in ${differing.length} ` +
          `lines:\n${named.map((each) => `  ${each}`).join("\n")}\n` +
          (more > 0 ? `  and ${more} more\n` : "") +
          "The day takes no more credits, and no statement is issued until both agree; find out " +
          "which is wrong (deno task royalty recount, audit) and close it again",
      );
    }
    const { events, ms } = totalsOf(lines);
    return { method, events, ms, device_loss: deviceLoss, seconds };
  }

  async #withFiles(outcome: Closed["outcome"], statement: StoredStatement): Promise<Closed> {
    try {
      await this.options.files?.write(statement);
      return { outcome, statement, filesMissing: undefined };
    } catch (error) {
      return { outcome, statement, filesMissing: messageOf(error) };
    }
  }

  // The lock only spares a second recount: what keeps the books right is in the transactions of
  // `work`, on the pool's other connection.
  async #alone<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    const { signal } = this.options;
    return await this.#withBooks(async (sql) => {
      let working: Promise<T> | undefined;
      try {
        const { result } = await sql.begin(async (tx) => {
          // Until the recount is done this transaction has nothing to say.
          await tx`set local idle_in_transaction_session_timeout = 0`;
          while (!(await tryLock(tx))) {
            await pause(LOCK_POLL_MS, signal);
            signal?.throwIfAborted();
          }
          working = work(sql);
          return { result: await working };
        });
        return result;
      } finally {
        // When the lock's connection is lost, nobody waits for the work.
        await working?.catch(() => {});
      }
    });
  }

  async #withBooks<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    const sql = connectBooks(this.options.databaseUrl);
    try {
      return await withRetryable(() => work(sql));
    } finally {
      await sql.end({ timeout: 2 });
    }
  }
}

interface LockRow {
  readonly locked: boolean;
}

async function tryLock(tx: TransactionSql): Promise<boolean> {
  const rows = await tx<LockRow[]>`
    select pg_try_advisory_xact_lock(hashtext('twofold royalty'), hashtext('close')) as locked`;
  return onlyRow(rows, "the lock of closing").locked;
}

function linkOf({ recognised_day, version, sha256 }: StatementEntry) {
  return { recognised_day, version, sha256 };
}

/** What a statement says besides its basis. */
interface Terms {
  readonly closedAt: number;
  readonly graceMs: number;
  readonly recount: RecountNote | null;
  readonly reason: string | null;
}

function compose(
  day: string,
  basis: IssueBasis,
  { closedAt, graceMs, recount, reason }: Terms,
): NewStatement {
  const { lines, newest, previous } = basis;
  const csv = statementCsv(lines);
  const version = (newest?.version ?? 0) + 1;
  const manifest = manifestOf({
    ...basis,
    day,
    version,
    graceMs,
    closedAt,
    csv,
    recount,
    previous: previous ? linkOf(previous) : null,
    replaces: newest ? { ...linkOf(newest), reason: reason ?? "" } : null,
  });
  const { rows, events, ms } = totalsOf(lines);
  return {
    day,
    version,
    csv,
    manifest,
    sha256: sha256(csv),
    manifestSha256: sha256(manifest),
    previousSha256: previous?.sha256 ?? null,
    rows,
    events: BigInt(events),
    ms: BigInt(ms),
    closedAt,
    reason,
  };
}
