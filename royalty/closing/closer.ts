/**
 * Closes days and issues statements: check and seal → recount → issue → write files.
 *
 * Every step is idempotent, so a close may be killed at any point and run again, also by another
 * process on another machine. One process closes at a time; the others wait and then find its
 * statement.
 *
 * @module
 */
import type { Sql, TransactionSql } from "postgres";
import { messageOf, Refused } from "../../shared/process/errors.ts";
import { pause } from "../../shared/process/retry.ts";
import type { RecordedAct } from "../books/acts.ts";
import { readDayLines, readRecognisedLines } from "../books/lines.ts";
import { withRetryable } from "../../shared/process/postgres/transient.ts";
import { allowSilence } from "../../shared/process/postgres/pool.ts";
import { onlyRow } from "../../shared/process/postgres/rows.ts";
import {
  readEntries,
  readIssued,
  readLastCloseMs,
  readStatementLines,
  readStored,
  type StatementEntry,
} from "../books/statements.ts";
import {
  type ClosingState,
  issue,
  type IssueBasis,
  type Issuing,
  type NewStatement,
  readClosingState,
  sealDay,
} from "./sealing.ts";
import { BusinessCalendar, nextDay } from "../statement/business_day.ts";
import type { StoredStatement } from "../statement/chain.ts";
import type { Recount } from "../recount/day.ts";
import { differences } from "../statement/day_line.ts";
import { type CloseRequest, nextToClose, obstaclesTo, refusalText } from "./conditions.ts";
import { connectBooks, WHOLE_DAY_MS } from "../books/connection.ts";
import {
  manifestOf,
  type RecountNote,
  sha256,
  type StatedAct,
  totalsOf,
} from "../statement/manifest.ts";
import { movedLines, type StudioChange, studioChanges } from "../statement/studio_changes.ts";
import { statementCsv } from "../statement/statement_csv.ts";
import type { StatementFiles } from "../statement/files.ts";

const LOCK_POLL_MS = 250;
const MAX_DIFFERENCES_NAMED = 10;
/** Maximum time by which the effective close time may be ahead of the clock, ms. */
const MAX_AHEAD_MS = 7 * 86_400_000;

/** Options of a {@link Closer}. */
export interface CloserOptions {
  /** Postgres URL of the books. */
  readonly databaseUrl: string;
  /** Time between the end of a day and its close. */
  readonly graceMs: number;
  /** The clock, ms since the epoch. */
  readonly now: () => number;
  /**
   * The time as all clocks agree on, ms since the epoch. Rejects with {@link Refused} while they
   * differ, and with `RetryAfter` while one cannot be read: nothing is sealed or issued then.
   */
  readonly agreedMs: () => Promise<number>;
  /** Reads the last sequence of each stream. */
  readonly streamEnds: () => Promise<ReadonlyMap<string, number>>;
  /** Undefined: days close without a recount. */
  readonly recount?: Recount | undefined;
  /** Undefined: statements are kept in Postgres only. */
  readonly files?: StatementFiles | undefined;
  /** Ends the wait for another process that closes. */
  readonly signal?: AbortSignal | undefined;
}

/** Who closes a day, and how. */
export interface CloseDeed {
  /** The person, or the service. */
  readonly by: string;
  /** The instant as of which it closes, ms since the epoch; undefined: now. */
  readonly asOfMs?: number | undefined;
  /** Why it closes as of an instant that has not come. */
  readonly reason?: string | undefined;
  /** Why it closes without a recount; undefined: the raw heartbeats are recounted. */
  readonly withoutRecount?: string | undefined;
}

/** Who accepted which reissue, and why. */
export interface ReissueDeed {
  /** SHA-256 of the CSV that was accepted, lower-case hex, of {@link Closer.previewReissue}. */
  readonly accept: string;
  readonly by: string;
  readonly reason: string;
}

/** What a reissue would change. */
export interface ReissuePreview {
  readonly day: string;
  /** The newest version. */
  readonly version: number;
  /** SHA-256 of the CSV that would be issued. */
  readonly sha256: string;
  /** Whether that is the newest version. */
  readonly isSame: boolean;
  /** Number of lines that get another studio. */
  readonly movedLines: number;
  readonly changes: readonly StudioChange[];
}

/** The result of a close or a reissue. */
export interface Closed {
  readonly outcome: "closed" | "closed before" | "issued again";
  readonly statement: StoredStatement;
  /** Why the files could not be written; undefined when they were. */
  readonly filesMissing: string | undefined;
}

/** The day that closes next, and when it is due. */
export interface NextClose {
  readonly day: string;
  /** End of the day plus grace, ms since the epoch. */
  readonly due: number;
  /** Whether a person has decided that days close. */
  readonly isOpened: boolean;
}

/**
 * Closes and reissues days. Its methods reject with {@link Refused} when that is not allowed, with
 * what to do, and with `RetryAfter` while Postgres or NATS is away.
 */
export class Closer {
  constructor(readonly options: CloserOptions) {}

  /** The day that closes next; undefined while the books are empty. */
  async next(): Promise<NextClose | undefined> {
    return await this.#withBooks(async (sql) => {
      const state = await readClosingState(sql);
      const day = state.sealedDay ?? nextToClose(state);
      if (day === undefined) return undefined;
      return { day, due: this.#due(state, day), isOpened: state.oldestOpenDay !== undefined };
    });
  }

  /** When the newest statement was issued, ms since the epoch; undefined before the first. */
  async lastCloseMs(): Promise<number | undefined> {
    return await this.#withBooks(readLastCloseMs);
  }

  /**
   * Closes `day` (`YYYY-MM-DD`) as `deed` says. A day that is closed already is not changed; its
   * missing files are written.
   */
  async close(day: string, deed: CloseDeed): Promise<Closed> {
    const { graceMs } = this.options;
    this.#checkAsOf(deed);
    return await this.#exclusively(async (sql) => {
      const stored = await readStored(sql, day);
      if (stored) return await this.#writeFiles("closed before", stored);
      await this.#seal(sql, day, deed);
      const recount = deed.withoutRecount === undefined
        ? await this.#recount(sql, day)
        : { waived_by: deed.by, reason: deed.withoutRecount };
      await issue(sql, day, closeActs(day, deed), (basis) => {
        if (basis.newest) return undefined;
        const closedAtMs = basis.sealedAsOfMs;
        return compose(day, basis, { closedAtMs, graceMs, recount, reason: null, by: deed.by });
      });
      return await this.#writeFiles("closed", await readIssued(sql, day));
    });
  }

  /** What a reissue of `day` with the current catalogue would change. Changes nothing. */
  async previewReissue(day: string): Promise<ReissuePreview> {
    return await this.#withBooks(async (sql) => {
      const stored = await this.#storedFor(sql, day);
      return await allowSilence(sql, WHOLE_DAY_MS, async () => {
        const before = await readStatementLines(sql, day, stored.version);
        const after = await readRecognisedLines(sql, day);
        return {
          day,
          version: stored.version,
          sha256: sha256(statementCsv(after)),
          isSame: sha256(statementCsv(after)) === stored.sha256,
          movedLines: movedLines(before, after),
          changes: studioChanges(before, after),
        };
      });
    });
  }

  /**
   * Issues a new version of `day` with the current catalogue, whose CSV has to have the SHA-256 that
   * was accepted; refused when it has another one, or would be the same as the version before.
   */
  async reissue(day: string, { accept, by, reason }: ReissueDeed): Promise<Closed> {
    return await this.#exclusively(async (sql) => {
      const stored = await this.#storedFor(sql, day);
      const closedAtMs = await this.options.agreedMs();
      const { recount, grace_ms } = JSON.parse(new TextDecoder().decode(stored.manifest));
      const act = { kind: "reissue", by, reason } as const;
      await issue(sql, day, [act], (basis) => {
        const terms = { closedAtMs, graceMs: grace_ms, recount, reason, by };
        const next = compose(day, basis, terms);
        checkReissue(next, accept, basis.newest);
        return next;
      });
      return await this.#writeFiles("issued again", await readIssued(sql, day));
    });
  }

  /** Writes all missing statement files; returns the number of statements written. */
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

  async #storedFor(sql: Sql, day: string): Promise<StoredStatement> {
    const stored = await readStored(sql, day);
    if (stored !== undefined) return stored;
    throw new Refused(
      `${day} has no statement to issue again; deno task royalty close issues it`,
    );
  }

  #checkAsOf({ asOfMs }: CloseDeed): void {
    const latest = this.options.now() + MAX_AHEAD_MS;
    if (asOfMs === undefined || asOfMs <= latest) return;
    throw new Refused(
      `as of ${new Date(asOfMs).toISOString()} is more than seven days ahead of the clock; days ` +
        `can be closed as of ${new Date(latest).toISOString()} at the latest`,
    );
  }

  async #seal(sql: Sql, day: string, { asOfMs, by, reason }: CloseDeed): Promise<void> {
    const state = await readClosingState(sql);
    const nowMs = await this.options.agreedMs();
    const due = this.#due(state, day);
    const request: CloseRequest = { day, asOfMs: asOfMs ?? nowMs, nowMs, due };
    const ends = await this.options.streamEnds();
    await sealDay(sql, day, nextDay(day), request.asOfMs, ends, (books) => {
      const obstacles = obstaclesTo(request, books);
      if (obstacles.length > 0) throw new Refused(refusalText(day, obstacles));
      if (request.asOfMs <= nowMs) return undefined;
      if (reason === undefined) throw new Refused(earlyText(day, request.asOfMs));
      return { kind: "early-close", by, reason, subject: `${day} as of ${iso(request.asOfMs)}` };
    });
  }

  #due({ zone }: Pick<ClosingState, "zone">, day: string): number {
    return new BusinessCalendar(zone).endOf(day) + this.options.graceMs;
  }

  // The day is sealed, so its credits do not change meanwhile.
  async #recount(sql: Sql, day: string): Promise<RecountNote | null> {
    const { recount } = this.options;
    if (!recount) return null;
    const { method, lines, deviceLoss, seconds } = await recount(day).catch((error) => {
      if (!(error instanceof Refused)) throw error;
      throw new Refused(
        `${day} is not closed: ${error.message}. It takes no more credits. A person may take ` +
          "responsibility: deno task royalty close with --without-recount REASON --by PERSON",
        { cause: error },
      );
    });
    const booked = await allowSilence(sql, WHOLE_DAY_MS, () => readDayLines(sql, day));
    const differing = differences(booked, lines);
    if (differing.length > 0) {
      const named = differing.slice(0, MAX_DIFFERENCES_NAMED);
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

  async #writeFiles(outcome: Closed["outcome"], statement: StoredStatement): Promise<Closed> {
    try {
      await this.options.files?.write(statement);
      return { outcome, statement, filesMissing: undefined };
    } catch (error) {
      return { outcome, statement, filesMissing: messageOf(error) };
    }
  }

  // The lock only avoids a second recount. Correctness depends on the transactions of `work`, which
  // run on the other connection of the pool.
  async #exclusively<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    const { signal } = this.options;
    return await this.#withBooks(async (sql) => {
      let working: Promise<T> | undefined;
      try {
        const { result } = await sql.begin(async (tx) => {
          // This transaction is idle until `work` is done.
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
        // If the connection of the lock is lost, `work` is still awaited and its error ignored.
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

function closeActs(day: string, { by, withoutRecount }: CloseDeed): Issuing[] {
  return [
    ...(withoutRecount === undefined
      ? []
      : [{ kind: "waiver", by, reason: withoutRecount, subject: day } as const]),
    { kind: "close", by },
  ];
}

function iso(instantMs: number): string {
  return new Date(instantMs).toISOString();
}

function earlyText(day: string, asOfMs: number): string {
  return `${day} cannot be closed: ${
    iso(asOfMs)
  } has not come. A person may decide that the day is ` +
    "over: give a reason (--reason)";
}

function checkReissue(
  next: NewStatement,
  accepted: string,
  newest: StatementEntry | undefined,
): void {
  if (next.sha256 === newest?.csvSha256) {
    throw new Refused(
      `the statement of ${next.day} would be the same as version ${newest.version}; nothing is ` +
        "issued. Correct the catalogue first (deno task royalty catalogue)",
    );
  }
  if (next.sha256 === accepted) return;
  throw new Refused(
    `the statement of ${next.day} would be ${next.sha256}, and ${accepted} was accepted; nothing is ` +
      "issued. Look at it again (deno task royalty reissue --dry-run)",
  );
}

function statedAct({ at, role, kind, by, subject, ...act }: RecordedAct): StatedAct {
  return {
    ...{ at, role, kind, by, subject },
    reason: act.reason ?? null,
    before: act.beforeSha256 ?? null,
    after: act.afterSha256 ?? null,
  };
}

function linkOf({ recognised_day, version, sha256 }: StatementEntry) {
  return { recognised_day, version, sha256 };
}

/** Close time, grace, recount and reason: what a statement contains besides its lines and sums. */
interface Terms {
  readonly closedAtMs: number;
  readonly graceMs: number;
  readonly recount: RecountNote | null;
  readonly reason: string | null;
  readonly by: string;
}

function compose(
  day: string,
  basis: IssueBasis,
  { closedAtMs, graceMs, recount, reason, by }: Terms,
): NewStatement {
  const { lines, newest, previous } = basis;
  const csv = statementCsv(lines);
  const version = (newest?.version ?? 0) + 1;
  const manifest = manifestOf({
    ...basis,
    day,
    version,
    graceMs,
    closedAtMs,
    csv,
    recount,
    issuedBy: by,
    acts: basis.acts.map(statedAct),
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
    closedAtMs,
    reason,
  };
}
