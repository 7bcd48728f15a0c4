/**
 * A line of a day, and two accounts of a day held side by side.
 *
 * Pure.
 *
 * @module
 */

/** What was credited to a day in one territory for a title. */
export interface DayLine {
  readonly eventDay: string;
  readonly titleId: string;
  readonly territory: string;
  readonly events: bigint;
  readonly msWatched: bigint;
}

/** The part of a statement's line that a recount derives too. */
export function dayLineOf({ eventDay, titleId, territory, events, msWatched }: DayLine): DayLine {
  return { eventDay, titleId, territory, events, msWatched };
}

type LineId = Pick<DayLine, "eventDay" | "territory" | "titleId">;

/** What identifies a line of one day, whoever is paid for it. */
export function lineKey({ eventDay, territory, titleId }: LineId): string {
  return `${eventDay} ${territory} ${titleId}`;
}

/** A line in two accounts; one of them may lack it. */
export type LinePair<A, B> =
  | readonly [ours: A, theirs: B | undefined]
  | readonly [ours: undefined, theirs: B];

/**
 * The lines of `ours` with their counterparts in `theirs`, in the order of `ours`; then those of
 * `theirs` that have none.
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

/** What a line says, in words. */
export function amountText(line: Pick<DayLine, "events" | "msWatched"> | undefined): string {
  return line ? `${line.events} events and ${line.msWatched} ms` : "nothing";
}

/** Where two derivations of a day differ, one line each; empty when they agree. */
export function differences(books: readonly DayLine[], recount: readonly DayLine[]): string[] {
  return [...pairLines(books, recount)].flatMap(([booked, recounted]) => {
    const [ours, theirs] = [amountText(booked), amountText(recounted)];
    if (ours === theirs) return [];
    const key = lineKey(booked === undefined ? recounted : booked);
    return [`${key}: the books have ${ours}, the recount ${theirs}`];
  }).sort();
}
