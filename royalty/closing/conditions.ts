/**
 * Whether a business day may close, and if not, why and what to do about it.
 *
 * A day closes when no event of it can be on its way any more, as far as anybody can tell: every
 * stream has been read past the day's end plus grace, and nothing is missing in what was read. What
 * comes later all the same is recognised on the next open day.
 *
 * Pure. Days are `YYYY-MM-DD`, instants ms since the epoch.
 *
 * @module
 */
import type { OpenGap } from "../books/gaps.ts";

/** How far a stream is posted, and how far it goes. */
export interface StreamState {
  readonly stream: string;
  readonly lastSeq: number;
  /** When the stream received the message `lastSeq`; 0 before the first. */
  readonly lastReceivedAt: number;
  /** The last sequence of the stream, asked for this close; undefined when it could not be asked. */
  readonly endSeq: number | undefined;
}

/** What the books say when a day asks to be closed. */
export interface BooksState {
  /** Undefined before the first close. */
  readonly oldestOpenDay: string | undefined;
  /** The earliest day with credits, if there are any. */
  readonly firstCreditedDay: string | undefined;
  readonly streams: readonly StreamState[];
  readonly openGaps: readonly OpenGap[];
}

/** What is asked. */
export interface CloseRequest {
  readonly day: string;
  /** The instant as of which the day is closed; ahead of the clock, a person vouches for it. */
  readonly asOf: number;
  /** End of the day plus grace. */
  readonly due: number;
}

/** Something that keeps a day open. */
export interface Obstacle {
  readonly reason: string;
  readonly remedy: string;
}

/** The furthest that the first statement may lie back: a wrong year would open a chain of its own. */
const MOST_DAYS_BACK_MS = 366 * 86_400_000;

const MOST_GAPS_NAMED = 5;

/** What keeps the day from closing; empty when it may close. */
export function obstaclesTo(request: CloseRequest, books: BooksState): Obstacle[] {
  const turn = outOfTurn(request, books);
  if (turn) return [turn];
  if (request.asOf < request.due) return [notYet(request)];
  return [...books.streams.flatMap((each) => unread(request, each)), ...gaps(books.openGaps)];
}

/** The day that closes next; undefined while the books are empty. */
export function nextToClose(
  { oldestOpenDay, firstCreditedDay }: Pick<BooksState, "oldestOpenDay" | "firstCreditedDay">,
): string | undefined {
  return oldestOpenDay ?? firstCreditedDay;
}

/** The obstacles in one sentence each. */
export function refusalText(day: string, obstacles: readonly Obstacle[]): string {
  const lines = obstacles.map(({ reason, remedy }) => `${reason}; ${remedy}`);
  return lines.length === 1
    ? `${day} cannot be closed: ${lines[0]}`
    : `${day} cannot be closed:\n${lines.map((line) => `  - ${line}`).join("\n")}`;
}

function outOfTurn({ day, asOf }: CloseRequest, books: BooksState): Obstacle | undefined {
  const { oldestOpenDay, firstCreditedDay } = books;
  if (oldestOpenDay !== undefined) {
    if (day === oldestOpenDay) return undefined;
    return day > oldestOpenDay
      ? {
        reason: `days close in order, and ${oldestOpenDay} is still open`,
        remedy: `close ${oldestOpenDay} first`,
      }
      : {
        reason: "it lies before the first statement",
        remedy: `the oldest day that can be closed is ${oldestOpenDay}`,
      };
  }
  if (firstCreditedDay !== undefined && day > firstCreditedDay) {
    return {
      reason: `minutes are credited to ${firstCreditedDay}, and no statement would carry them`,
      remedy: `begin with ${firstCreditedDay}`,
    };
  }
  if (Date.parse(day) < asOf - MOST_DAYS_BACK_MS) {
    return {
      reason: "it would be the first statement, more than a year ago",
      remedy: `begin with ${firstCreditedDay ?? "a later day"}`,
    };
  }
}

function notYet({ asOf, due }: CloseRequest): Obstacle {
  return {
    reason: `as of ${iso(asOf)} it is not over: its end and the grace pass at ${iso(due)}`,
    remedy: "wait until then",
  };
}

function unread({ due }: CloseRequest, state: StreamState): Obstacle[] {
  const { stream, lastSeq, lastReceivedAt, endSeq } = state;
  if (lastReceivedAt >= due || (endSeq !== undefined && endSeq <= lastSeq)) return [];
  const where = lastReceivedAt === 0 ? "at its beginning" : `at ${iso(lastReceivedAt)}`;
  return [
    endSeq === undefined
      ? {
        reason: `${stream} is posted up to sequence ${lastSeq}, ${where}, and whether more waits ` +
          "cannot be told without NATS",
        remedy: "set TWOFOLD_NATS_* to royalty's, or wait for later events",
      }
      : {
        reason: `${stream} is posted up to sequence ${lastSeq}, ${where}, and ` +
          `${endSeq - lastSeq} more wait`,
        remedy: "let the royalty service read on (deno task royalty status shows its lag)",
      },
  ];
}

function gaps(open: readonly OpenGap[]): Obstacle[] {
  const named = open.slice(0, MOST_GAPS_NAMED).map(({ stream, firstSeq, lastSeq }) => ({
    reason: `${stream} lost sequences ${firstSeq} to ${lastSeq} before they were counted`,
    remedy: "find out why, then a named person settles it: deno task royalty settle-gap " +
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
