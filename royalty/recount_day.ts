/**
 * The shadow recount of one day: the raw streams against the books, before every automatic close and
 * whenever somebody asks.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import type { Sql } from "postgres";
import type { postgresSettings, Settings } from "../shared/config.ts";
import { Refused } from "../shared/errors.ts";
import type { DayLine, Recount, RecountResult } from "./close.ts";
import { connectBooks } from "./ledger.ts";
import { type RawExtent, rawExtent, readRaw } from "./raw_stream.ts";
import { type RawSource, recount, type RecountedLine } from "./recount.ts";
import { type BookedLines, readBooksOfDay, type StreamSpan } from "./recount_books.ts";
import { DayStarts, type RecountRules } from "./recount_event.ts";
import type { recountSettings } from "./settings.ts";
import { compareLines, lineKey, type RecountReport, totals } from "./recount_report.ts";

/** What a recount works with. */
export interface RecountOptions {
  /** May read the books; nothing is written. */
  readonly sql: Sql;
  /** May read raw heartbeats by sequence: royalty or auditor. */
  readonly nc: NatsConnection;
  readonly rules: RecountRules;
  /**
   * Where the sort writes: 32 bytes for each heartbeat kept, removed afterwards. Without it a million
   * heartbeats can be recounted.
   */
  readonly folder: string | undefined;
  readonly now: () => number;
}

const METHOD = "external sort of raw heartbeats by event id, the first of each id counted";

/**
 * Recounts `day` (`YYYY-MM-DD`). Rejects with {@link Refused} when the raw heartbeats of the day are
 * not kept any more or are not those that were counted, and with `RetryAfter` while NATS does not
 * answer.
 */
export async function recountDay(day: string, options: RecountOptions): Promise<RecountReport> {
  return (await derive(day, options)).report;
}

async function derive(
  day: string,
  options: RecountOptions,
): Promise<{ readonly report: RecountReport; readonly booked: readonly BookedLines[] }> {
  const { sql, nc, rules, folder, now } = options;
  const begun = now();
  const { zone, state, spans, booked } = await readBooksOfDay(sql, day);
  const kept = await Promise.all(spans.map(async (span) => ({
    span,
    extent: await rawExtent(nc, span.stream),
  })));
  const needed = new DayStarts(zone).startOf(day) - rules.futureToleranceMs;
  const sources = kept.map(({ span, extent }) => sourceOf(nc, span, extent, needed, begun));
  const recounted = await recount({ day, zone, rules, sources, folder });
  const report: RecountReport = {
    day,
    state,
    method: METHOD,
    ...recounted,
    streams: kept.map(({ span: { stream, through }, extent: { firstSeq } }, i) => ({
      stream,
      from: firstSeq,
      through,
      missing: Math.max(through - firstSeq + 1, 0) - sources[i].messages,
    })),
    comparisons: booked.map(({ name, lines }) => ({
      name,
      differences: compareLines(lines, recounted.lines),
    })),
    seconds: (now() - begun) / 1000,
  };
  return { report, booked };
}

function sourceOf(
  nc: NatsConnection,
  { stream, through, closedThrough }: StreamSpan,
  extent: RawExtent,
  needed: number,
  asked: number,
): RawSource & { readonly messages: number } {
  if (extent.lastSeq < through) {
    throw new Refused(
      `${stream} ends at ${extent.lastSeq}, but ${through} is accounted for: it was restored or ` +
        "made anew, and its sequences name other heartbeats than those counted",
    );
  }
  const completeSince = completeSinceOf(extent, asked);
  const isCut = closedThrough !== undefined && extent.firstSeq > closedThrough + 1;
  if (completeSince > needed || isCut) {
    throw new Refused(
      `${stream} keeps raw heartbeats since ${iso(completeSince)}, sequence ${extent.firstSeq}; ` +
        `this day needs all since ${iso(needed)}` +
        (closedThrough === undefined ? "" : `, sequence ${closedThrough + 1}`) +
        ". It cannot be recounted any more",
    );
  }
  const source = {
    ...{ stream, through, closedThrough, completeSince },
    messages: 0,
    read: async function* () {
      for await (const batch of readRaw(nc, stream, { from: extent.firstSeq, through })) {
        source.messages += batch.length;
        yield batch;
      }
    },
  };
  return source;
}

// What is gone was older than the stream's age; a heartbeat that is still there proves more.
function completeSinceOf({ firstSeq, firstReceivedAt, maxAgeMs }: RawExtent, asked: number) {
  if (firstSeq === 1) return -Infinity;
  return Math.min(firstReceivedAt ?? Infinity, asked - maxAgeMs);
}

function iso(instant: number): string {
  return Number.isFinite(instant) ? new Date(instant).toISOString() : "its beginning";
}

/**
 * The recount that a close waits for. A line whose doubtful events leave room for what the books
 * say is given as the books have it, and the method says how many events that concerns.
 */
export async function recountForClose(
  day: string,
  options: RecountOptions,
): Promise<RecountResult> {
  const { report: { method, lines, seconds }, booked: [accruals] } = await derive(day, options);
  const { doubtfulEvents } = totals(lines);
  if (doubtfulEvents === 0n) return { method, lines, seconds };
  const doubt = `${doubtfulEvents} events taken as booked, because a copy may have come before ` +
    "the oldest heartbeat kept";
  return { method: `${method}; ${doubt}`, lines: asBooked(lines, accruals.lines), seconds };
}

function asBooked(lines: readonly RecountedLine[], booked: readonly DayLine[]): DayLine[] {
  const disputed = new Set(compareLines(booked, lines).map(lineKey));
  const agreed = booked.filter((line) => !disputed.has(lineKey(line)));
  return [...agreed, ...lines.filter((line) => disputed.has(lineKey(line)))];
}

/** The recount of the service, with a connection of its own while it lasts. */
export function serviceRecount(
  settings: Settings<typeof recountSettings & typeof postgresSettings>,
  nc: NatsConnection,
  now: () => number,
): Recount {
  const rules = {
    latenessHorizonMs: settings.TWOFOLD_LATENESS_HORIZON_MS,
    futureToleranceMs: settings.TWOFOLD_FUTURE_TOLERANCE_MS,
  };
  return async (day) => {
    const sql = connectBooks(settings.TWOFOLD_POSTGRES_URL);
    try {
      const folder = settings.TWOFOLD_RECOUNT_DIR;
      return await recountForClose(day, { sql, nc, rules, folder, now });
    } finally {
      await sql.end({ timeout: 2 });
    }
  };
}
