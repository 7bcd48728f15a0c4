/**
 * Decides whether a business day may close; if not, why and what to do.
 *
 * A day may close when every stream has been read past the day's end plus grace, or to its end, and
 * no gap is open. Events that arrive later are recognised on the oldest open day. A receipt in the
 * future, from a stream whose clock was wrong, says nothing about how far the stream was read.
 *
 * Pure. Days are `YYYY-MM-DD`, instants ms since the epoch.
 *
 * @module
 */
import { MAX_DIFFERENCE_MS } from "../../shared/process/clock/agreement.ts";
import type { OpenGap } from "../books/gaps.ts";

/** How far a stream is posted, and where it ends. */
export interface StreamState {
  readonly stream: string;
  readonly lastSeq: number;
  /** Receipt of the message `lastSeq`; 0 before the first. */
  readonly lastReceivedAtMs: number;
  /** The last sequence of the stream, read for this close; undefined when NATS did not answer. */
  readonly endSeq: number | undefined;
}

/** The state of the books at a request to close. */
export interface BooksState {
  /** Undefined before the first close. */
  readonly oldestOpenDay: string | undefined;
  /** The earliest day with credits; undefined when there are none. */
  readonly firstCreditedDay: string | undefined;
  readonly streams: readonly StreamState[];
  readonly openGaps: readonly OpenGap[];
}

/** A request to close a day. */
export interface CloseRequest {
  readonly day: string;
  /** Effective close time, ms since the epoch. A person may choose one ahead of the clock. */
  readonly asOfMs: number;
  /** What time it is, as all clocks agree. */
  readonly nowMs: number;
  /** The earliest instant at which it may close: end of the day plus grace. */
  readonly due: number;
}

/** A reason why a day may not close, and what to do about it. */
export interface Obstacle {
  readonly reason: string;
  readonly remedy: string;
}

/** Maximum age of the first statement: with a mistyped year the chain would begin on a wrong day. */
const MAX_FIRST_STATEMENT_AGE_MS = 366 * 86_400_000;

const MAX_GAPS_NAMED = 5;

/** The reasons why the day may not close; empty when it may. */
export function obstaclesTo(request: CloseRequest, books: BooksState): Obstacle[] {
  const wrongDay = wrongDayObstacle(request, books);
  if (wrongDay) return [wrongDay];
  if (request.asOfMs < request.due) return [notDueObstacle(request)];
  return [
    ...books.streams.flatMap((each) => unreadObstacles(request, each)),
    ...gapObstacles(books.openGaps),
  ];
}

/** The day that closes next; undefined while the books are empty. */
export function nextToClose(
  { oldestOpenDay, firstCreditedDay }: Pick<BooksState, "oldestOpenDay" | "firstCreditedDay">,
): string | undefined {
  return oldestOpenDay ?? firstCreditedDay;
}

/** The message that `day` cannot be closed, with every obstacle. */
export function refusalText(day: string, obstacles: readonly Obstacle[]): string {
  const lines = obstacles.map(({ reason, remedy }) => `${reason}; ${remedy}`);
  return lines.length === 1
    ? `${day} cannot be closed: ${lines[0]}`
    : `${day} cannot be closed:\n${lines.map((line) => `  - ${line}`).join("\n")}`;
}

function wrongDayObstacle({ day, asOfMs }: CloseRequest, books: BooksState): Obstacle | undefined {
  const { oldestOpenDay, firstCreditedDay } = books;
  if (oldestOpenDay !== undefined) {
    if (day === oldestOpenDay) return undefined;
    return day > oldestOpenDay
      ? {
        reason: `days close in order, and ${oldestOpenDay} is still open`,
        remedy: `close ${oldestOpenDay} first`,
      }
      : {
        reason: "it is before the first statement",
        remedy: `the oldest day that can be closed is ${oldestOpenDay}`,
      };
  }
  if (firstCreditedDay !== undefined && day > firstCreditedDay) {
    return {
      reason: `minutes are credited to ${firstCreditedDay}, and no statement would contain them`,
      remedy: `close ${firstCreditedDay} first`,
    };
  }
  if (Date.parse(day) < asOfMs - MAX_FIRST_STATEMENT_AGE_MS) {
    return {
      reason: "it would be the first statement, more than a year ago",
      remedy: `start with ${firstCreditedDay ?? "a later day"}`,
    };
  }
}

function notDueObstacle({ asOfMs, due }: CloseRequest): Obstacle {
  return {
    reason: `as of ${iso(asOfMs)} it is not over: its end plus grace is ${iso(due)}`,
    remedy: "wait until then",
  };
}

function unreadObstacles({ due, nowMs }: CloseRequest, state: StreamState): Obstacle[] {
  const { stream, lastSeq, lastReceivedAtMs, endSeq } = state;
  const isPast = lastReceivedAtMs >= due && lastReceivedAtMs <= nowMs + MAX_DIFFERENCE_MS;
  if (isPast || (endSeq !== undefined && endSeq <= lastSeq)) return [];
  const where = lastReceivedAtMs === 0 ? "at its beginning" : `at ${iso(lastReceivedAtMs)}`;
  return [
    endSeq === undefined
      ? {
        reason: `${stream} is posted up to sequence ${lastSeq}, ${where}, and its lag is unknown ` +
          "without NATS",
        remedy: "set TWOFOLD_NATS_* to those of royalty, or wait for later events",
      }
      : {
        reason: `${stream} is posted up to sequence ${lastSeq}, ${where}, and its lag is ` +
          `${endSeq - lastSeq}`,
        remedy: "wait for the royalty service (deno task royalty status shows its lag)",
      },
  ];
}

function gapObstacles(open: readonly OpenGap[]): Obstacle[] {
  const named = open.slice(0, MAX_GAPS_NAMED).map(({ stream, firstSeq, lastSeq }) => ({
    reason: `${stream} lost sequences ${firstSeq} to ${lastSeq} before they were counted`,
    remedy: "find out why, then settle the gap: deno task royalty settle-gap " +
      `--stream ${stream} --first ${firstSeq} --by PERSON --reason TEXT`,
  }));
  const more = open.length - named.length;
  return more > 0
    ? [...named, { reason: `${more} more gaps are open`, remedy: "settle them too" }]
    : named;
}

function iso(instant: number): string {
  return new Date(instant).toISOString();
}
