/**
 * A live view of the pipeline: redrawn in place on a terminal, a line at intervals elsewhere.
 *
 * @module
 */
import type { Output } from "../../process/cli/io.ts";
import { renderTable, right } from "../../process/cli/table.ts";
import type { Snapshot } from "./observer.ts";

/** How often a line is written when the output is not a terminal, ms. */
const LINE_EVERY_MS = 5_000;

/** Columns of the clock in front of a line: enough for 9999.9 s. */
const CLOCK_COLUMNS = 6;

/** Shows snapshots and notes on one output. */
export class Terminal {
  #previous?: Snapshot;
  #drawnLines = 0;
  #lastLineAtMs = 0;
  readonly #startedAtMs: number;

  constructor(nowMs: number, readonly output: Output) {
    this.#startedAtMs = nowMs;
  }

  /** Prints a line, which remains above the live view. */
  note(nowMs: number, text: string): void {
    this.#erase();
    this.output.line(`${this.#clock(nowMs)}  ${text}`);
  }

  /** Redraws the view. */
  show(snapshot: Snapshot): void {
    const figures = figuresOf(snapshot, this.#previous);
    this.#previous = snapshot;
    if (this.output.isTerminal) {
      const view = viewOf(figures);
      this.#erase();
      this.output.line(view);
      this.#drawnLines = view.split("\n").length;
    } else if (snapshot.atMs - this.#lastLineAtMs >= LINE_EVERY_MS) {
      this.#lastLineAtMs = snapshot.atMs;
      const line = figures.flat().map(([name, value]) => `${name} ${value}`).join(" | ");
      this.output.line(`${this.#clock(snapshot.atMs)}  ${line}`);
    }
  }

  #clock(nowMs: number): string {
    return `${((nowMs - this.#startedAtMs) / 1000).toFixed(1).padStart(CLOCK_COLUMNS)} s`;
  }

  // Cursor up and clear to the end of the screen.
  #erase(): void {
    if (this.#drawnLines > 0) this.output.write(`\x1b[${this.#drawnLines}A\x1b[J`);
    this.#drawnLines = 0;
  }
}

type Figure = readonly [name: string, value: string];

/** The view, in two rows; rates are computed from the previous snapshot. */
export function figuresOf(now: Snapshot, before: Snapshot | undefined): Figure[][] {
  const seconds = before ? (now.atMs - before.atMs) / 1000 : 0;
  const rate = before && seconds > 0 ? (now.accepted - before.accepted) / seconds : 0;
  return [
    [
      ["events/s", whole(rate)],
      ["accepted", whole(now.accepted)],
      ["messages", whole(now.messages)],
      ["counted", whole(now.counted)],
      ["duplicates", whole(now.duplicates)],
      ["minutes", whole(now.creditedMs / 60_000)],
    ],
    [
      ["lag of live", whole(now.lag.live)],
      ["of royalty", whole(now.lag.royalty)],
      ["of triage", whole(now.lag.triage)],
      ["open alerts", String(now.openAlerts)],
      ["quarantined", whole(now.quarantined)],
    ],
  ];
}

/** The rows as tables, one below the other. */
export function viewOf(figures: readonly (readonly Figure[])[]): string {
  return figures.map((row) =>
    renderTable(row.map(([name]) => right(name)), [row.map(([, value]) => value)])
  ).join("\n");
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
