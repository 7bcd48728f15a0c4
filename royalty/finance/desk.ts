/**
 * What finance may ask for, found or refused with what there is instead: a closed day has a
 * statement, an open one only provisional lines, and no day has both.
 *
 * @module
 */
import { RetryAfter } from "../../shared/process/errors.ts";
import type { BusinessCalendar } from "../statement/business_day.ts";
import type { OpenDayState } from "./page.ts";
import { type FinanceProblem, financeProblems } from "./problem.ts";
import { provisionalCsv } from "./provisional.ts";
import { statementCsv } from "../statement/csv.ts";
import type { Extent, Issued, StatementRef, StatementStore } from "./store.ts";

export interface DeskOptions {
  readonly calendar: BusinessCalendar;
  /** How long after its end a day closes, ms. */
  readonly graceMs: number;
  /** The clock, ms since the epoch. */
  readonly now: () => number;
}

/** One version of a statement among all of its day, newest first. */
export interface Found {
  readonly shown: Issued;
  readonly versions: readonly Issued[];
}

/** A file made from lines on request, and what it is as of. */
export interface ProvisionalFile {
  readonly csv: Uint8Array<ArrayBuffer>;
  readonly asOf: number;
}

/** Files made at a time are one, because each is in memory whole; this many more may wait. */
const MOST_WAITING = 8;
const MOST_OPEN_DAYS = 10;
const MOST_STUDIOS_NAMED = 100;

export class FinanceDesk {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(readonly store: StatementStore, readonly options: DeskOptions) {}

  /** A version of a day's statement, the newest unless `version` says which. */
  async find(day: string, version?: number): Promise<Found> {
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

  /** The CSV of one studio's lines in a statement; the same bytes each time. */
  async studioCsv(ref: StatementRef, studio: string): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#inTurn(async () => {
      const lines = await this.store.studioLines(ref, studio);
      if (lines.length > 0) return statementCsv(lines);
      const all = (await this.store.studios(ref)).map((each) => each.studio);
      const studios = all.slice(0, MOST_STUDIOS_NAMED);
      throw financeProblems.problem(
        "no-such-studio",
        `No line of ${ref.day}, version ${ref.version}, is of "${studio}". ` +
          `The statement has ${all.length} studios, named as in \`studios\`.`,
        { members: { studios } },
      );
    });
  }

  /** What an open day has so far. */
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
    return await this.#inTurn(async () => {
      const asOf = this.options.now();
      return { csv: provisionalCsv(await this.store.openLines(day), asOf), asOf };
    });
  }

  /** The newest days without a statement, and when they close. */
  async openDays(): Promise<OpenDayState[]> {
    const [open, { sealed }] = await Promise.all([
      this.store.openDays(MOST_OPEN_DAYS),
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
        ? `${day} lies before the first day of the books, ${oldestOpenDay}.`
        : `There is no statement of ${day}; there are those of ${firstDay} to ${lastDay}.`;
      const members = { first_day: firstDay, last_day: lastDay };
      return financeProblems.problem("no-statement", detail, { members });
    }
    return this.#open(day, isSealed);
  }

  #open(day: string, isSealed: boolean): FinanceProblem {
    const now = this.options.now();
    const closesAt = this.#closesAt(day);
    const when = new Date(closesAt).toISOString();
    const why = isSealed
      ? "It takes no more events and is being recounted; its statement comes next."
      : closesAt > now
      ? `It closes at ${when} at the earliest, once every stream is read that far.`
      : `It is due since ${when} and waits for the days before it, a stream that is behind, a gap ` +
        `that nobody has settled or its recount: \`deno task royalty close --day ${day}\` says which.`;
    const begun = day <= this.options.calendar.dayOf(now);
    const provisional = begun ? `/v1/provisional/${day}.csv` : undefined;
    const instead = begun ? ` Until then there is ${provisional}, which is not a statement.` : "";
    return financeProblems.problem(
      "not-closed",
      `${day} has no statement yet. ${why}${instead}`,
      {
        members: { closes_at: when, provisional },
        ...(closesAt > now ? { retryAfterMs: closesAt - now } : {}),
      },
    );
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting > MOST_WAITING) {
      throw new RetryAfter("too many files are being made at once", 5_000);
    }
    this.#waiting += 1;
    const turn = this.#last.then(work);
    // The next turn begins however this one ends.
    this.#last = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#waiting -= 1;
    }
  }
}
