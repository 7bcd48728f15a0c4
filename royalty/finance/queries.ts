/**
 * Answers the questions of the finance API from the store, or throws a problem that says what exists
 * instead. A closed day has a statement, an open day has provisional lines, and no day has both.
 *
 * @module
 */
import { RetryAfter } from "../../shared/process/errors.ts";
import type { BusinessCalendar } from "../statement/business_day.ts";
import type { OpenDayState } from "./page.ts";
import { type FinanceProblem, financeProblems } from "./problem.ts";
import { provisionalCsv } from "./provisional.ts";
import { statementCsv } from "../statement/statement_csv.ts";
import type { Extent, Issued, StatementRef, StatementStore } from "./store.ts";

/** Options of {@link FinanceQueries}. */
export interface QueryOptions {
  readonly calendar: BusinessCalendar;
  /** Time between the end of a day and its close, ms. */
  readonly graceMs: number;
  /** The clock, ms since the epoch. */
  readonly now: () => number;
}

/** One version of a statement, and all versions of its day, newest first. */
export interface FoundStatement {
  readonly shown: Issued;
  readonly versions: readonly Issued[];
}

/** The provisional lines of an open day as CSV. */
export interface ProvisionalFile {
  readonly csv: Uint8Array<ArrayBuffer>;
  /** When they were read, ms since the epoch. */
  readonly asOfMs: number;
}

/** Files are made one at a time, because each is in memory whole; this many requests may wait. */
const MAX_WAITING = 8;
const MAX_OPEN_DAYS = 10;
const MAX_STUDIOS_NAMED = 100;

/**
 * Finds statements, files and open days. Every method throws a problem of {@link financeProblems}
 * when there is none, and rejects with {@link RetryAfter} when the store cannot be read now.
 */
export class FinanceQueries {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(readonly store: StatementStore, readonly options: QueryOptions) {}

  /** The given version of a day's statement, or the newest. */
  async find(day: string, version?: number): Promise<FoundStatement> {
    const versions = await this.store.versions(day);
    if (versions.length === 0) throw this.#notIssued(day, await this.store.extent());
    const shown = versions.find((each) => version === undefined || each.version === version);
    if (shown) return { shown, versions };
    const known = versions.map((each) => each.version);
    throw financeProblems.problem(
      "no-such-version",
      `The statement of ${day} has no version ${version}; it has ${known.join(", ")}.`,
      { members: { versions: known } },
    );
  }

  /** The CSV of one studio's lines in a statement; always the same bytes. */
  async studioCsv(ref: StatementRef, studio: string): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#oneAtATime(async () => {
      const lines = await this.store.studioLines(ref, studio);
      if (lines.length > 0) return statementCsv(lines);
      const all = (await this.store.studios(ref)).map((each) => each.studio);
      const studios = all.slice(0, MAX_STUDIOS_NAMED);
      throw financeProblems.problem(
        "no-such-studio",
        `The statement of ${ref.day}, version ${ref.version}, has no studio "${studio}". ` +
          `It has ${all.length} studios, spelled as in \`studios\`.`,
        { members: { studios } },
      );
    });
  }

  /** The lines of an open day so far. */
  async provisional(day: string): Promise<ProvisionalFile> {
    const [versions, extent] = await Promise.all([this.store.versions(day), this.store.extent()]);
    if (versions.length > 0) {
      const statement = `/v1/statements/${day}.csv`;
      throw financeProblems.problem("already-closed", `${day} has a statement: ${statement}`, {
        members: { statement },
      });
    }
    const now = this.options.now();
    const problem = this.#notIssued(day, extent);
    if (problem.problem !== "not-closed") throw problem;
    if (day > this.options.calendar.dayOf(now)) {
      throw financeProblems.problem(
        "not-begun",
        `${day} has not begun; nothing can be watched on it yet.`,
      );
    }
    return await this.#oneAtATime(async () => {
      const asOfMs = this.options.now();
      return { csv: provisionalCsv(await this.store.openLines(day), asOfMs), asOfMs };
    });
  }

  /** The newest days without a statement, and when they are due to close. */
  async openDays(): Promise<OpenDayState[]> {
    const [open, { sealed }] = await Promise.all([
      this.store.openDays(MAX_OPEN_DAYS),
      this.store.extent(),
    ]);
    return open.map((each) => ({
      ...each,
      closesAt: this.#closesAt(each.day),
      isSealed: sealed.includes(each.day),
    }));
  }

  #closesAt(day: string): number {
    return this.options.calendar.endOf(day) + this.options.graceMs;
  }

  // Why a day has no statement.
  #notIssued(day: string, { oldestOpenDay, firstDay, lastDay, sealed }: Extent): FinanceProblem {
    const isSealed = sealed.includes(day);
    const isPast = (firstDay !== undefined && day < firstDay) ||
      (oldestOpenDay !== undefined && day < oldestOpenDay);
    if (isPast && !isSealed) {
      const detail = firstDay === undefined
        ? `${day} is before the first day of the books, ${oldestOpenDay}.`
        : `There is no statement of ${day}; statements exist for ${firstDay} to ${lastDay}.`;
      const members = { first_day: firstDay, last_day: lastDay };
      return financeProblems.problem("no-statement", detail, { members });
    }
    return this.#notClosed(day, isSealed);
  }

  #notClosed(day: string, isSealed: boolean): FinanceProblem {
    const now = this.options.now();
    const closesAt = this.#closesAt(day);
    const when = new Date(closesAt).toISOString();
    const why = isSealed
      ? "It takes no more events and is being recounted; then its statement is issued."
      : closesAt > now
      ? `It closes at ${when} at the earliest, when every stream has been read that far.`
      : `It is due since ${when} and waits for an earlier day, a stream that is behind, an open gap ` +
        `or its recount: \`deno task royalty close --day ${day}\` says which.`;
    const begun = day <= this.options.calendar.dayOf(now);
    const provisional = begun ? `/v1/provisional/${day}.csv` : undefined;
    const instead = begun ? ` Until then use ${provisional}, which is not a statement.` : "";
    return financeProblems.problem(
      "not-closed",
      `${day} has no statement yet. ${why}${instead}`,
      {
        members: { closes_at: when, provisional },
        ...(closesAt > now ? { retryAfterMs: closesAt - now } : {}),
      },
    );
  }

  async #oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting > MAX_WAITING) {
      throw new RetryAfter("too many files are requested at once", 5_000);
    }
    this.#waiting += 1;
    const turn = this.#last.then(work);
    // The next one runs whether this one succeeds or fails.
    this.#last = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#waiting -= 1;
    }
  }
}
