/**
 * Recounts a day from the raw streams and compares it with the books: before every automatic close,
 * and on command.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import type { Sql } from "postgres";
import type { Settings } from "../../shared/process/config.ts";
import type { OnProgress } from "../../shared/process/cli/progress.ts";
import type { postgresSettings } from "../../shared/process/postgres/server_url.ts";
import { connectBooks } from "../books/connection.ts";
import type { recountSettings } from "../settings.ts";
import { type DayLine, lineKey } from "../statement/day_line.ts";
import type { DeviceLossEstimate } from "../statement/device_loss.ts";
import type { RecountRules } from "./appraise.ts";
import { type BooksOfDay, readBooksOfDay } from "./books_of_day.ts";
import { recount, type RecountedLine } from "./recount.ts";
import { compareLines, type RecountReport, totals } from "./report.ts";
import { type KeptSource, keptSources } from "./sources.ts";

/** Options of a recount. */
export interface RecountOptions {
  /** A connection to the books, which are only read. */
  readonly sql: Sql;
  /** A connection that may read raw heartbeats by sequence: as royalty or auditor. */
  readonly nc: NatsConnection;
  readonly rules: RecountRules;
  /**
   * Folder for the sort: 32 bytes per heartbeat read, removed afterwards. Without it, at most a
   * million heartbeats can be recounted.
   */
  readonly folder: string | undefined;
  /** The clock, ms since the epoch. */
  readonly now: () => number;
  /** Time before the day from which heartbeats are read, ms; undefined: everything that is kept. */
  readonly lookBackMs?: number | undefined;
  /** Aborts the recount: it rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
  /** Receives the steps done and the expected total: each sequence is read, then counted. */
  readonly onProgress?: OnProgress | undefined;
}

const METHOD = "external sort of raw heartbeats by event id, the first of each id counted";

/**
 * Recounts `day` (`YYYY-MM-DD`) and compares it with the books. Rejects with `Refused` when the raw
 * heartbeats of the day are no longer kept or are not those that were counted, and with `RetryAfter`
 * while NATS does not answer.
 */
export async function recountDay(day: string, options: RecountOptions): Promise<RecountReport> {
  return (await derive(day, options)).report;
}

/** A recount, and what it was compared with. */
interface Derived {
  readonly report: RecountReport;
  readonly booked: BooksOfDay["booked"];
}

async function derive(day: string, options: RecountOptions): Promise<Derived> {
  const { sql, nc, rules, folder, now, lookBackMs, signal, onProgress } = options;
  const startMs = now();
  const books = await readBooksOfDay(sql, day);
  const { zone, state, booked } = books;
  const sources = await keptSources(nc, books, rules, startMs, lookBackMs);
  const sum = (of: (source: KeptSource) => number) =>
    sources.reduce((total, source) => total + of(source), 0);
  const sequences = sum(({ from, through }) => through - from + 1);
  // How many heartbeats the rest of the messages have is not known yet.
  const total = () =>
    2 * sequences * (sum((each) => each.heartbeats) / sum((each) => each.messages));
  const recounted = await recount({
    day,
    zone,
    rules,
    sources,
    folder,
    signal,
    onProgress: onProgress && ((steps) => onProgress(steps, Math.round(total()) || sequences)),
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
    seconds: (now() - startMs) / 1000,
  };
  return { report, booked };
}

/**
 * The recount for a close. Where the books agree within the doubtful events of a line, the line is
 * returned as booked, and `method` says how many events that concerns. Rejects as
 * {@link recountDay} does.
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

/** The recount that the service uses to close days; it opens its own connection to the books. */
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

/** The result of a recount for a close. */
export interface RecountResult {
  /** The method, for the manifest. */
  readonly method: string;
  readonly lines: readonly DayLine[];
  /** Estimate of heartbeats that never arrived. */
  readonly deviceLoss: DeviceLossEstimate;
  /** Duration. */
  readonly seconds: number;
}

/** Recounts a sealed day (`YYYY-MM-DD`) from the raw streams. */
export type Recount = (day: string) => Promise<RecountResult>;
