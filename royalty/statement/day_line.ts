/**
 * A line of a recognised day, and the comparison of two lists of lines.
 *
 * Pure.
 *
 * @module
 */

/** The sum of credits of a title in a territory for one event day, `YYYY-MM-DD`. */
export interface DayLine {
  readonly eventDay: string;
  readonly titleId: string;
  readonly territory: string;
  readonly events: bigint;
  readonly msWatched: bigint;
}

/** The fields of a statement line that a recount derives too. */
export function dayLineOf({ eventDay, titleId, territory, events, msWatched }: DayLine): DayLine {
  return { eventDay, titleId, territory, events, msWatched };
}

type LineId = Pick<DayLine, "eventDay" | "territory" | "titleId">;

/** Identifies a line within one recognised day; the studio is not part of it. */
export function lineKey({ eventDay, territory, titleId }: LineId): string {
  return `${eventDay} ${territory} ${titleId}`;
}

/** One line in two lists; one of the lists may lack it. */
export type LinePair<A, B> =
  | readonly [ours: A, theirs: B | undefined]
  | readonly [ours: undefined, theirs: B];

/**
 * Pairs the lines of `ours` with those of `theirs` that have the same {@link lineKey}, in the order
 * of `ours`; then the lines of `theirs` that have no counterpart.
 */
export function* pairLines<A extends LineId, B extends LineId>(
  ours: readonly A[],
  theirs: readonly B[],
): Generator<LinePair<A, B>> {
  const rest = new Map(theirs.map((line) => [lineKey(line), line]));
  for (const line of ours) {
    const key = lineKey(line);
    yield [line, rest.get(key)];
    rest.delete(key);
  }
  for (const line of rest.values()) yield [undefined, line];
}

/** Events and ms of a line as text; `nothing` for undefined. */
export function amountText(line: Pick<DayLine, "events" | "msWatched"> | undefined): string {
  return line ? `${line.events} events and ${line.msWatched} ms` : "nothing";
}

/** The differences between books and recount, one text each, sorted; empty when they agree. */
export function differences(books: readonly DayLine[], recount: readonly DayLine[]): string[] {
  return [...pairLines(books, recount)].flatMap(([booked, recounted]) => {
    const [ours, theirs] = [amountText(booked), amountText(recounted)];
    if (ours === theirs) return [];
    const key = lineKey(booked === undefined ? recounted : booked);
    return [`${key}: the books have ${ours}, the recount ${theirs}`];
  }).sort();
}
