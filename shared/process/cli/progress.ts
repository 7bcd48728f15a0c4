/**
 * The progress of long work, for a person at a terminal; nothing at all elsewhere.
 *
 * @module
 */
import { type Output, processIo } from "./io.ts";
import { safeText, truncated } from "./table.ts";

/** Shortest time between two looks of the line, ms: five a second. */
const REDRAW_MS = 200;
/** Columns of a terminal that does not say how many it has. */
const TERMINAL_COLUMNS = 80;
/** Back to the start of the line, and what is on it cleared. */
const CLEAR_LINE = "\r\x1b[K";

/** Told how much of long work is done, in its own units, and of how many when that is known. */
export type OnProgress = (done: number, total?: number) => void;

/** One line on a terminal, rewritten in place while work goes on. */
export interface Progress extends Disposable {
  /**
   * `done` units of the work are done since its start, of `total` if that has become known or
   * another. Cheap: call it as often as wanted.
   */
  readonly at: OnProgress;
  /** Clears the line; nothing is shown after that. `using` calls it too. */
  readonly end: () => void;
}

/** What progress is shown with; all of it has a default for a process. */
export interface ProgressOptions {
  /** Shown only when it is a terminal. Default: standard error. */
  readonly to?: Output;
  /** A clock that does not go back, ms. Default: `performance.now`. */
  readonly now?: () => number;
  /** Columns of the terminal now; the line stays shorter. */
  readonly columns?: () => number;
}

/**
 * Shows the progress of work that is called `label`, of `expected` units when that is known: done and
 * total, percent, rate since the start, time left at that rate. The first line comes after 200 ms,
 * so that short work shows nothing. Wrong figures never fail the work.
 */
export function progress(
  label: string,
  expected?: number,
  options: ProgressOptions = {},
): Progress {
  const { to = processIo().err, now = () => performance.now(), columns = columnsNow } = options;
  if (!to.isTerminal) return { at: () => {}, end: () => {}, [Symbol.dispose]: () => {} };
  const startedAtMs = now();
  let drawnAtMs = startedAtMs;
  let isDrawn = false;
  let hasEnded = false;
  let total = expected;
  const at = (done: number, newTotal?: number) => {
    total = newTotal ?? total;
    const nowMs = now();
    if (hasEnded || nowMs - drawnAtMs < REDRAW_MS) return;
    drawnAtMs = nowMs;
    isDrawn = true;
    const line = progressLine(label, done, total, (nowMs - startedAtMs) / 1000);
    // A character in the last column would make some terminals go to the next line.
    to.write(CLEAR_LINE + truncated(line, Math.max(1, columns() - 1)));
  };
  const end = () => {
    if (isDrawn && !hasEnded) to.write(CLEAR_LINE);
    hasEnded = true;
  };
  return { at, end, [Symbol.dispose]: end };
}

/** The line after `seconds` of work (above 0). Pure. */
export function progressLine(
  label: string,
  done: number,
  total: number | undefined,
  seconds: number,
): string {
  const rate = done / seconds;
  const parts = [`${safeText(label)} ${whole(done)}`];
  if (total !== undefined) {
    const percent = total > 0 ? Math.min(100, Math.floor(done / total * 100)) : 100;
    parts[0] += `/${whole(total)}`;
    parts.push(`${percent}%`);
  }
  parts.push(`${rate < 10 ? rate.toFixed(1) : whole(rate)}/s`);
  if (total !== undefined && total > done && rate > 0) {
    parts.push(`${duration((total - done) / rate)} left`);
  }
  return parts.join("  ");
}

function whole(value: number): string {
  return Math.floor(value).toLocaleString("en-US");
}

function duration(seconds: number): string {
  const s = Math.ceil(seconds);
  if (s < 60) return `${s} s`;
  const two = (value: number) => String(Math.floor(value)).padStart(2, "0");
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  return `${whole(s / 3600)} h ${two(s % 3600 / 60)} min`;
}

function columnsNow(): number {
  try {
    // A terminal that nobody sized has none.
    return Deno.consoleSize().columns || TERMINAL_COLUMNS;
  } catch {
    return TERMINAL_COLUMNS;
  }
}
