/**
 * The shadow recount of one day: the raw streams against the books, before every automatic close and
 * whenever somebody asks.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import type { Sql } from "postgres";
import type { postgresSettings, Settings } from "../../shared/process/config.ts";
import type { OnProgress } from "../../shared/process/cli/progress.ts";
import { connectBooks } from "../books/connection.ts";
import type { recountSettings } from "../settings.ts";
import { type DayLine, lineKey } from "../statement/day_line.ts";
import type { DeviceLossEstimate } from "../statement/device_loss.ts";
import type { RecountRules } from "./appraise.ts";
import { type BooksOfDay, readBooksOfDay } from "./books_of_day.ts";
import { recount, type RecountedLine } from "./recount.ts";
import { compareLines, type RecountReport, totals } from "./report.ts";
import { keptSources } from "./sources.ts";

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
  /** How far before its day copies of late heartbeats are looked for, ms; undefined: all that is kept. */
  readonly lookBackMs?: number | undefined;
  /** Ends the recount early: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Told of the steps done and of how many there are about: one to read each sequence and one to
   * count it.
   */
  readonly onProgress?: OnProgress | undefined;
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

/** A recount, and what it was held against. */
interface Derived {
  readonly report: RecountReport;
  readonly booked: BooksOfDay["booked"];
}

async function derive(day: string, options: RecountOptions): Promise<Derived> {
  const { sql, nc, rules, folder, now, lookBackMs, signal, onProgress } = options;
  const begun = now();
  const books = await readBooksOfDay(sql, day);
  const { zone, state, booked } = books;
  const sources = await keptSources(nc, books, rules, begun, lookBackMs);
  const sequences = sources.reduce((sum, each) => sum + each.through - each.from + 1, 0);
  const recounted = await recount({
    day,
    zone,
    rules,
    sources,
    folder,
    signal,
    onProgress: onProgress && ((steps) => onProgress(steps, 2 * sequences)),
  });
  const report: RecountReport = {
    day,
    state,
    method: METHOD,
    ...recounted,
    streams: sources.map(({ stream, from, through, messages }) => ({
      stream,
      from,
      through,
      missing: Math.max(through - from + 1, 0) - messages,
    })),
    comparisons: booked.map(({ name, lines }) => ({
      name,
      differences: compareLines(lines, recounted.lines),
    })),
    seconds: (now() - begun) / 1000,
  };
  return { report, booked };
}

/**
 * The recount that a close waits for. A line whose doubtful events leave room for what the books
 * say is given as the books have it, and the method says how many events that concerns.
 */
export async function recountForClose(
  day: string,
  options: RecountOptions,
): Promise<RecountResult> {
  const { report, booked: [accruals] } = await derive(day, options);
  const { method, lines, deviceLoss, seconds } = report;
  const { doubtfulEvents } = totals(lines);
  if (doubtfulEvents === 0n) return { method, lines, deviceLoss, seconds };
  const doubt = `${doubtfulEvents} events taken as booked, because a copy may have come before ` +
    "the oldest heartbeat read";
  return {
    method: `${method}; ${doubt}`,
    lines: asBooked(lines, accruals.lines),
    deviceLoss,
    seconds,
  };
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
  signal: AbortSignal,
): Recount {
  const rules = {
    latenessHorizonMs: settings.TWOFOLD_LATENESS_HORIZON_MS,
    futureToleranceMs: settings.TWOFOLD_FUTURE_TOLERANCE_MS,
  };
  return async (day) => {
    const sql = connectBooks(settings.TWOFOLD_POSTGRES_URL);
    try {
      const folder = settings.TWOFOLD_RECOUNT_DIR;
      const lookBackMs = settings.TWOFOLD_RECOUNT_LOOK_BACK_MS;
      return await recountForClose(day, { sql, nc, rules, folder, now, lookBackMs, signal });
    } finally {
      await sql.end({ timeout: 2 });
    }
  };
}

/** A day derived once more, by other means. */
export interface RecountResult {
  /** How it was done, for the manifest. */
  readonly method: string;
  readonly lines: readonly DayLine[];
  /** Heartbeats that never arrived, as far as those that did can tell. */
  readonly deviceLoss: DeviceLossEstimate;
  /** What it cost. */
  readonly seconds: number;
}

/** Derives a sealed day from the raw streams, without the books' own credits. */
export type Recount = (day: string) => Promise<RecountResult>;
