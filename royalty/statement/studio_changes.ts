/**
 * What a new version of a statement changes for each studio.
 *
 * Pure.
 *
 * @module
 */
import { pairLines } from "./day_line.ts";
import { type StatementLine, UNMAPPED } from "./statement_csv.ts";

/** The sums of a studio on one event day, in the version before and in the new one. */
export interface StudioChange {
  readonly studio: string;
  /** `YYYY-MM-DD` */
  readonly eventDay: string;
  readonly eventsBefore: bigint;
  readonly eventsAfter: bigint;
  readonly msBefore: bigint;
  readonly msAfter: bigint;
}

type Sums = { -readonly [K in keyof StudioChange]: StudioChange[K] };

/** The sums that differ, by event day and studio; empty when every studio has what it had. */
export function studioChanges(
  before: readonly StatementLine[],
  after: readonly StatementLine[],
): StudioChange[] {
  const sums = new Map<string, Sums>();
  const sumOf = ({ studio = UNMAPPED, eventDay }: StatementLine) => {
    const key = `${eventDay} ${studio}`;
    const found = sums.get(key) ??
      { studio, eventDay, eventsBefore: 0n, eventsAfter: 0n, msBefore: 0n, msAfter: 0n };
    sums.set(key, found);
    return found;
  };
  for (const line of before) {
    const sum = sumOf(line);
    sum.eventsBefore += line.events;
    sum.msBefore += line.msWatched;
  }
  for (const line of after) {
    const sum = sumOf(line);
    sum.eventsAfter += line.events;
    sum.msAfter += line.msWatched;
  }
  return [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, sum]) => sum)
    .filter((sum) => sum.eventsBefore !== sum.eventsAfter || sum.msBefore !== sum.msAfter);
}

/** How many lines have another studio in `after` than in `before`. */
export function movedLines(
  before: readonly StatementLine[],
  after: readonly StatementLine[],
): number {
  let moved = 0;
  for (const [ours, theirs] of pairLines(before, after)) {
    if (ours?.studio !== theirs?.studio) moved += 1;
  }
  return moved;
}
