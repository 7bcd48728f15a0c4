/**
 * Reads the raw heartbeats that may be in some lines of a statement, and the keys of their ids.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { NatsConnection } from "nats";
import type { Sql } from "postgres";
import { Refused } from "../../shared/process/errors.ts";
import { patiently } from "../../shared/process/postgres/pool.ts";
import { WHOLE_DAY_MS } from "../books/connection.ts";
import type { OnProgress } from "../../shared/process/cli/progress.ts";
import { type AccrualRules, accrue } from "../posting/accrue.ts";
import { BusinessCalendar } from "../statement/business_day.ts";
import { knownKeys } from "../posting/key_table.ts";
import { firstSince, type RawExtent, rawExtent, readRaw } from "../raw/raw_stream.ts";
import { readBooksOfDay, type StreamSpan } from "../recount/books_of_day.ts";
import type { RecountOptions } from "../recount/day.ts";
import { DayStarts } from "../recount/appraise.ts";
import { lineType, type StatementLine } from "../statement/csv.ts";
import { Trace, type Wanted } from "./trace.ts";

/** Ids held at once, about 150 MB. */
const MOST_IDS = 1_000_000;

/**
 * Traces `lines`, the booked ones that `wanted` selects, at least one, to their heartbeats. Rejects
 * with {@link Refused} when those are not kept any more or are too many.
 */
export async function traceLines(
  wanted: Wanted,
  lines: readonly StatementLine[],
  limit: number,
  { sql, nc, rules, now, onProgress }: Omit<RecountOptions, "folder">,
): Promise<Trace> {
  const { zone, spans } = await readBooksOfDay(sql, wanted.day);
  const [firstDay] = lines.map(({ eventDay }) => eventDay).sort();
  if (firstDay === undefined) throw new RangeError("there is no line to trace");
  // An event is received at most this much before its own ts.
  const needed = new DayStarts(zone).startOf(firstDay) - rules.futureToleranceMs;
  const calendar = new BusinessCalendar(zone);
  const accrualRules = { ...rules, dayOf: (instant: number) => calendar.dayOf(instant) };
  const ranges: Range[] = [];
  for (const span of spans) {
    const extent = await rawExtent(nc, span.stream);
    checkKept(span, extent, lines, needed, now());
    const from = await firstSince(nc, span.stream, needed);
    if (from !== undefined && from <= span.through) ranges.push({ ...span, from });
  }
  const total = ranges.reduce((sum, range) => sum + sequencesOf(range), 0);
  const trace = new Trace(wanted, limit);
  let done = 0;
  for (const range of ranges) {
    const onSequence: OnProgress = (sequences) => onProgress?.(done + sequences, total);
    await traceStream({ sql, nc, rules: accrualRules, onProgress: onSequence }, range, trace);
    done += sequencesOf(range);
  }
  return trace;
}

// Usage needs every heartbeat of its day; adjustments those since the day before was closed.
function checkKept(
  { stream, through, closedThrough }: StreamSpan,
  { firstSeq, lastSeq, firstReceivedAt, maxAgeMs }: RawExtent,
  lines: readonly StatementLine[],
  needed: number,
  nowMs: number,
): void {
  if (lastSeq < through) {
    throw new Refused(
      `${stream} ends at ${lastSeq}, but ${through} is accounted for: it was restored or made ` +
        "anew, and its sequences name other heartbeats than those counted",
    );
  }
  const keptSince = Math.min(firstReceivedAt ?? Infinity, nowMs - maxAgeMs);
  if (firstSeq === 1 || keptSince <= needed) return;
  const isAdjustment = lines.every((line) => lineType(line) === "ADJUSTMENT");
  if (isAdjustment && closedThrough !== undefined && firstSeq <= closedThrough + 1) return;
  throw new Refused(
    `${stream} keeps raw heartbeats since ${new Date(keptSince).toISOString()} only; these lines ` +
      `need those since ${new Date(needed).toISOString()}. The account without --title needs none`,
  );
}

/** The sequences of a stream that are read: `from` to `through`. */
interface Range extends StreamSpan {
  readonly from: number;
}

function sequencesOf({ from, through }: Range): number {
  return through - from + 1;
}

/** What a stream is traced with. */
interface Tools {
  readonly sql: Sql;
  readonly nc: NatsConnection;
  readonly rules: AccrualRules;
  /** Told how many sequences of the stream are read. */
  readonly onProgress: OnProgress;
}

async function traceStream(
  { sql, nc, rules, onProgress }: Tools,
  { stream, from, through, closedThrough }: Range,
  trace: Trace,
): Promise<void> {
  const mayName = naming(trace.wanted.titleId);
  for await (const batch of readRaw(nc, stream, { from, through })) {
    onProgress((batch.at(-1)?.sequence ?? from) - from + 1);
    const deliveries = batch.filter(({ bytes }) => mayName(bytes))
      .map((message) => ({ ...message, redelivered: false }));
    const claims = trace.select(accrue(deliveries, rules).claims);
    if (claims.length === 0) continue;
    const counted = await patiently(sql, WHOLE_DAY_MS, () => knownKeys(sql, claims));
    for (const claim of claims) {
      trace.add(stream, claim, counted.get(claim.eventId), closedThrough);
    }
    if (trace.ids > MOST_IDS) {
      throw new Refused(
        `more than ${MOST_IDS} events match; choose fewer with --territory or --event-day`,
      );
    }
  }
}

/**
 * Tells bytes that may be a heartbeat of `titleId` from those that cannot be, without reading them:
 * JSON spells a text as it is unless there is a backslash.
 */
export function naming(titleId: string): (bytes: Uint8Array) => boolean {
  const title = Buffer.from(titleId);
  return ({ buffer, byteOffset, length }) => {
    const bytes = Buffer.from(buffer, byteOffset, length);
    return bytes.includes(title) || bytes.includes("\\");
  };
}
