/**
 * Shows the progress of long work on a terminal; does nothing elsewhere.
 *
 * @module
 */
import { type Output, processIo } from "./io.ts";
import { safeText, truncated } from "./table.ts";

/** Minimum time between two updates of the line, in ms. */
const MIN_REDRAW_MS = 200;
/** Width of a terminal of unknown size. */
const DEFAULT_COLUMNS = 80;
/** Moves the cursor to the start of the line and clears the line. */
const CLEAR_LINE = "\r\x1b[K";

/** Receives how much of the work is done and the total if known, both in units of the work. */
export type OnProgress = (done: number, total?: number) => void;

/** One line on a terminal, updated in place. */
export interface Progress extends Disposable {
  /**
   * Reports `done` units since the start, and a new `total` if it has changed. Cheap enough for a
   * call per unit.
   */
  readonly at: OnProgress;
  /** Clears the line and shows nothing more. `using` calls it at the end of the scope. */
  readonly end: () => void;
}

/** Options of {@link progress}; the defaults are for a process. */
export interface ProgressOptions {
  /** Output, used only if it is a terminal. Default: standard error. */
  readonly to?: Output;
  /** A monotonic clock, in ms. Default: `performance.now`. */
  readonly nowMs?: () => number;
  /** Current width of the terminal; the line is shorter. */
  readonly columns?: () => number;
}

/**
 * Shows the progress of work named `label`, of `expected` units if known: units done and total,
 * percentage, average rate, time left at that rate. The first line appears after 200 ms, so that
 * short work shows nothing. Never throws for inconsistent numbers.
 */
export function progress(
  label: string,
  expected?: number,
  options: ProgressOptions = {},
): Progress {
  const { to = processIo().err, columns = terminalColumns } = options;
  const { nowMs = () => performance.now() } = options;
  if (!to.isTerminal) return { at: () => {}, end: () => {}, [Symbol.dispose]: () => {} };
  const startedAtMs = nowMs();
  let drawnAtMs = startedAtMs;
  let isDrawn = false;
  let hasEnded = false;
  let total = expected;
  const at = (done: number, newTotal?: number) => {
    total = newTotal ?? total;
    const atMs = nowMs();
    if (hasEnded || atMs - drawnAtMs < MIN_REDRAW_MS) return;
    drawnAtMs = atMs;
    isDrawn = true;
    const line = progressLine(label, done, total, (atMs - startedAtMs) / 1000);
    // A character in the last column makes some terminals wrap to the next line.
    to.write(CLEAR_LINE + truncated(line, Math.max(1, columns() - 1)));
  };
  const end = () => {
    if (isDrawn && !hasEnded) to.write(CLEAR_LINE);
    hasEnded = true;
  };
  return { at, end, [Symbol.dispose]: end };
}

/** The progress line after `seconds` of work (more than 0). Pure. */
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

function terminalColumns(): number {
  try {
    // A terminal whose size was never set has 0 columns.
    return Deno.consoleSize().columns || DEFAULT_COLUMNS;
  } catch {
    return DEFAULT_COLUMNS;
  }
}
