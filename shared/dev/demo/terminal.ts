/**
 * A live view of the pipeline: redrawn in place on a terminal, a line now and then elsewhere.
 *
 * @module
 */
import type { Snapshot } from "./observer.ts";

const encoder = new TextEncoder();
/** How often a line is written when the output is not a terminal, ms. */
const LINE_EVERY_MS = 5_000;

/** Shows snapshots and notes; writes to standard output only. */
export class Terminal {
  #previous?: Snapshot;
  #drawnLines = 0;
  #lastLineAtMs = 0;
  readonly #isTerminal = Deno.stdout.isTerminal();
  readonly #startedAtMs: number;

  constructor(nowMs: number) {
    this.#startedAtMs = nowMs;
  }

  /** Something that happened, kept above the live view. */
  note(nowMs: number, text: string): void {
    this.#erase();
    write(`${this.#clock(nowMs)}  ${text}\n`);
  }

  /** Redraws the view. */
  show(snapshot: Snapshot): void {
    const lines = viewOf(snapshot, this.#previous);
    this.#previous = snapshot;
    if (this.#isTerminal) {
      this.#erase();
      write(lines.join("\n") + "\n");
      this.#drawnLines = lines.length;
    } else if (snapshot.atMs - this.#lastLineAtMs >= LINE_EVERY_MS) {
      this.#lastLineAtMs = snapshot.atMs;
      write(`${this.#clock(snapshot.atMs)}  ${lines.map((line) => line.trim()).join(" | ")}\n`);
    }
  }

  #clock(nowMs: number): string {
    return `${((nowMs - this.#startedAtMs) / 1000).toFixed(1).padStart(6)} s`;
  }

  // Cursor up and clear to the end of the screen.
  #erase(): void {
    if (this.#drawnLines > 0) write(`\x1b[${this.#drawnLines}A\x1b[J`);
    this.#drawnLines = 0;
  }
}

/** The lines of the view; rates come from the previous snapshot. */
export function viewOf(now: Snapshot, before: Snapshot | undefined): string[] {
  const seconds = before ? (now.atMs - before.atMs) / 1000 : 0;
  const rate = before && seconds > 0 ? (now.accepted - before.accepted) / seconds : 0;
  const { live, royalty, triage } = now.lag;
  return [
    `  events/s ${number(rate)}   accepted ${number(now.accepted)}   stored ${number(now.stored)}`,
    `  lag  live ${number(live)}   royalty ${number(royalty)}   triage ${number(triage)}`,
    `  open alerts ${now.openAlerts}   quarantined ${number(now.quarantined)}`,
    `  minutes ${number(now.creditedMs / 60_000)}   counted ${number(now.counted)}   ` +
    `duplicates ${number(now.duplicates)}`,
  ];
}

function number(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function write(text: string): void {
  Deno.stdout.writeSync(encoder.encode(text));
}
