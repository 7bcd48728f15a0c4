/**
 * Reads the raw heartbeats that may be in some lines of a statement, and the keys of their ids.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { NatsConnection } from "nats";
import type { Sql } from "postgres";
import { Refused } from "../../shared/process/errors.ts";
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
 * Traces `lines`, the booked ones that `wanted` selects, to their heartbeats. Rejects with
 * {@link Refused} when those are not kept any more or are too many.
 */
export async function traceLines(
  wanted: Wanted,
  lines: readonly StatementLine[],
  limit: number,
  { sql, nc, rules, now }: Omit<RecountOptions, "folder">,
): Promise<Trace> {
  const { zone, spans } = await readBooksOfDay(sql, wanted.day);
  const firstDay = lines.map(({ eventDay }) => eventDay).sort()[0];
  // An event is received at most this much before its own ts.
  const needed = new DayStarts(zone).startOf(firstDay) - rules.futureToleranceMs;
  const calendar = new BusinessCalendar(zone);
  const accrualRules = { ...rules, dayOf: (instant: number) => calendar.dayOf(instant) };
  const trace = new Trace(wanted, limit);
  for (const span of spans) {
    const extent = await rawExtent(nc, span.stream);
    checkKept(span, extent, lines, needed, now());
    const from = await firstSince(nc, span.stream, needed);
    if (from === undefined) continue;
    await traceStream({ sql, nc, rules: accrualRules }, span, from, trace);
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

async function traceStream(
  { sql, nc, rules }: {
    readonly sql: Sql;
    readonly nc: NatsConnection;
    readonly rules: AccrualRules;
  },
  { stream, through, closedThrough }: StreamSpan,
  from: number,
  trace: Trace,
): Promise<void> {
  const mayName = naming(trace.wanted.titleId);
  for await (const batch of readRaw(nc, stream, { from, through })) {
    const deliveries = batch.filter(({ bytes }) => mayName(bytes))
      .map((message) => ({ ...message, redelivered: false }));
    const claims = trace.select(accrue(deliveries, rules).claims);
    if (claims.length === 0) continue;
    const counted = await sql.begin((tx) => knownKeys(tx, claims));
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
