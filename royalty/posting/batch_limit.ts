/**
 * Decides how many events one transaction may have: fewer over a link to Postgres that is too thin
 * for more.
 *
 * Bytes that the operating system has taken do not show whether the link passes them. So a batch that
 * is too large for a thin link ends as silence of Postgres, and would for ever. After such a failure
 * the next batch is a quarter; full batches that succeed make it larger again, slow ones later.
 *
 * Pure.
 *
 * @module
 */

/** A batch this small passes any link that is of use. */
const MIN_EVENTS = 20;
/** A full batch that took less, in ms, makes the next one twice as large. */
const FAST_MS = 500;
/** So many full batches in a row do, however slow they are: it may be a long link, not a thin one. */
const FULL_IN_A_ROW = 16;

/** See the module. */
export class BatchLimit {
  #events: number;
  #fullInARow = 0;

  /** At most `maxEvents`, from the beginning. */
  constructor(readonly maxEvents: number) {
    this.#events = maxEvents;
  }

  /** Maximum events of the next batch. */
  get events(): number {
    return this.#events;
  }

  /** Whether it is less than the greatest. */
  get isReduced(): boolean {
    return this.#events < this.maxEvents;
  }

  /** A batch of `events` was posted within `ms`. */
  posted(events: number, ms: number): void {
    if (!this.isReduced || events < this.#events) return;
    this.#fullInARow += 1;
    if (ms >= FAST_MS && this.#fullInARow < FULL_IN_A_ROW) return;
    this.#set(2 * this.#events);
  }

  /** A batch of `events` failed because of Postgres. */
  failed(events: number): void {
    this.#set(Math.min(this.#events, events) / 4);
  }

  #set(events: number): void {
    this.#fullInARow = 0;
    this.#events = Math.min(this.maxEvents, Math.max(MIN_EVENTS, Math.floor(events)));
  }
}
