/**
 * Reads the raw heartbeats that may be in given lines of a statement, and the keys of their ids.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { NatsConnection } from "nats";
import type { Sql } from "postgres";
import { Refused } from "../../shared/process/errors.ts";
import { allowSilence } from "../../shared/process/postgres/pool.ts";
import { WHOLE_DAY_MS } from "../books/connection.ts";
import type { OnProgress } from "../../shared/process/cli/progress.ts";
import { type AccrualRules, accrue } from "../posting/accrue.ts";
import { BusinessCalendar } from "../statement/business_day.ts";
import { knownKeys } from "../posting/key_table.ts";
import {
  firstSequenceSince,
  type RawExtent,
  rawExtent,
  readRaw,
} from "../../shared/process/raw/raw_stream.ts";
import { readBooksOfDay, type StreamSpan } from "../recount/books_of_day.ts";
import type { RecountOptions } from "../recount/day.ts";
import { DayStarts } from "../recount/appraise.ts";
import { lineType, type StatementLine } from "../statement/statement_csv.ts";
import { type LineFilter, Trace } from "./trace.ts";

/** Maximum ids in memory, about 150 MB. */
const MAX_IDS = 1_000_000;

/**
 * Traces `lines` to their heartbeats. They are the booked lines that `filter` selects, at least one;
 * at most `limit` heartbeats are kept to be shown. Rejects with {@link Refused} when the raw
 * heartbeats are no longer kept or too many match.
 */
export async function traceLines(
  filter: LineFilter,
  lines: readonly StatementLine[],
  limit: number,
  { sql, nc, rules, now, onProgress }: Omit<RecountOptions, "folder">,
): Promise<Trace> {
  const { zone, spans } = await readBooksOfDay(sql, filter.day);
  const [firstDay] = lines.map(({ eventDay }) => eventDay).sort();
  if (firstDay === undefined) throw new RangeError("no line to trace");
  // The oldest receipt of an event of that day: a device's clock may be ahead by the tolerance.
  const neededSinceMs = new DayStarts(zone).startOf(firstDay) - rules.futureToleranceMs;
  const calendar = new BusinessCalendar(zone);
  const accrualRules = { ...rules, dayOf: (instant: number) => calendar.dayOf(instant) };
  const ranges: Range[] = [];
  for (const span of spans) {
    const extent = await rawExtent(nc, span.stream);
    checkKept(span, extent, lines, neededSinceMs, now());
    const from = await firstSequenceSince(nc, span.stream, neededSinceMs);
    if (from !== undefined && from <= span.through) ranges.push({ ...span, from });
  }
  const total = ranges.reduce((sum, range) => sum + sequencesOf(range), 0);
  const trace = new Trace(filter, limit);
  let done = 0;
  for (const range of ranges) {
    const onSequence: OnProgress = (sequences) => onProgress?.(done + sequences, total);
    await traceStream({ sql, nc, rules: accrualRules, onProgress: onSequence }, range, trace);
    done += sequencesOf(range);
  }
  return trace;
}

// USAGE needs every heartbeat of its day, ADJUSTMENT those since the seal of the day before.
function checkKept(
  { stream, through, closedThrough }: StreamSpan,
  { firstSeq, lastSeq, firstReceivedAt, maxAgeMs }: RawExtent,
  lines: readonly StatementLine[],
  neededSinceMs: number,
  nowMs: number,
): void {
  if (lastSeq < through) {
    throw new Refused(
      `${stream} ends at ${lastSeq}, but ${through} is accounted for: it was restored or ` +
        "recreated, and its sequences name other heartbeats than those counted",
    );
  }
  const keptSinceMs = Math.min(firstReceivedAt ?? Infinity, nowMs - maxAgeMs);
  if (firstSeq === 1 || keptSinceMs <= neededSinceMs) return;
  const isAdjustment = lines.every((line) => lineType(line) === "ADJUSTMENT");
  if (isAdjustment && closedThrough !== undefined && firstSeq <= closedThrough + 1) return;
  throw new Refused(
    `${stream} keeps raw heartbeats since ${
      new Date(keptSinceMs).toISOString()
    } only; these lines ` +
      `need those since ${new Date(neededSinceMs).toISOString()}. Without --title none are needed`,
  );
}

/** The sequences of a stream to read, `from` to `through`, both included. */
interface Range extends StreamSpan {
  readonly from: number;
}

function sequencesOf({ from, through }: Range): number {
  return through - from + 1;
}

/** Options of {@link traceStream}. */
interface StreamTraceOptions {
  readonly sql: Sql;
  readonly nc: NatsConnection;
  readonly rules: AccrualRules;
  /** Receives how many sequences of the stream were read. */
  readonly onProgress: OnProgress;
}

async function traceStream(
  { sql, nc, rules, onProgress }: StreamTraceOptions,
  { stream, from, through, closedThrough }: Range,
  trace: Trace,
): Promise<void> {
  const mayContain = titleMatcher(trace.filter.titleId);
  for await (const batch of readRaw(nc, stream, { from, through })) {
    onProgress((batch.at(-1)?.sequence ?? from) - from + 1);
    const events = batch.filter(({ bytes }) => mayContain(bytes));
    const claims = trace.select(accrue(events, rules).claims);
    if (claims.length === 0) continue;
    const counted = await allowSilence(sql, WHOLE_DAY_MS, () => knownKeys(sql, claims));
    for (const claim of claims) {
      trace.add(stream, claim, counted.get(claim.eventId), closedThrough);
    }
    if (trace.ids > MAX_IDS) {
      throw new Refused(
        `more than ${MAX_IDS} events match; select fewer with --territory or --event-day`,
      );
    }
  }
}

/**
 * A fast filter of the bytes that may be a heartbeat of `titleId`, without parsing them: they contain
 * the title, or a backslash, without which JSON cannot write it otherwise.
 */
export function titleMatcher(titleId: string): (bytes: Uint8Array) => boolean {
  const title = Buffer.from(titleId);
  return ({ buffer, byteOffset, length }) => {
    const bytes = Buffer.from(buffer, byteOffset, length);
    return bytes.includes(title) || bytes.includes("\\");
  };
}
