/**
 * A timer wheel: when each session is looked at next, if no heartbeat comes.
 *
 * A session has one entry. A heartbeat need not move it; when the entry is due, the owner says
 * when to look again. So a heartbeat costs nothing here, and a session one look in 8 to 18 s.
 *
 * Pure: times are arguments, ms.
 *
 * @module
 */

const SLOTS = 1024;
const SLOT_MS = 1_000;

/** Entries of all sessions, by row: a doubly linked list in each slot. */
export class Wheel {
  /** Rows `capacity + slot` are the lists' ends. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  #slot = Number.NaN;

  constructor(readonly capacity: number) {
    this.#next = new Int32Array(capacity + SLOTS);
    this.#previous = new Int32Array(capacity + SLOTS);
    for (let end = capacity; end < capacity + SLOTS; end++) {
      this.#next[end] = end;
      this.#previous[end] = end;
    }
  }

  /** Adds an entry for `row`, which has none; at most 1,023 s ahead. */
  arm(row: number, nowMs: number, dueMs: number): void {
    if (Number.isNaN(this.#slot)) this.#slot = Math.floor(nowMs / SLOT_MS);
    const slot = Math.max(this.#slot + 1, Math.ceil(dueMs / SLOT_MS));
    const end = this.capacity + Math.min(slot, this.#slot + SLOTS - 1) % SLOTS;
    const first = this.#next[end] ?? end;
    this.#next[row] = first;
    this.#previous[row] = end;
    this.#next[end] = row;
    this.#previous[first] = row;
  }

  /** Moves the entry of `row`. */
  rearm(row: number, nowMs: number, dueMs: number): void {
    this.#unlink(row);
    this.arm(row, nowMs, dueMs);
  }

  /**
   * Calls `due` with each row due at `nowMs`; it returns when to look at it again, or a negative
   * number for never.
   */
  advance(nowMs: number, due: (row: number) => number): void {
    const target = Math.floor(nowMs / SLOT_MS);
    if (Number.isNaN(this.#slot)) this.#slot = target;
    // After a pause longer than the wheel, one turn visits everything.
    if (target - this.#slot > SLOTS) this.#slot = target - SLOTS;
    while (this.#slot < target) {
      this.#slot += 1;
      const end = this.capacity + this.#slot % SLOTS;
      for (let row = this.#next[end] ?? end; row !== end; row = this.#next[end] ?? end) {
        this.#unlink(row);
        const againMs = due(row);
        if (againMs >= 0) this.arm(row, nowMs, againMs);
      }
    }
  }

  /**
   * Takes out the entry, of at most `tries` that are due next, that `rank` gives the lowest number;
   * −1 if there is none.
   */
  takeNext(tries: number, rank: (row: number) => number): number {
    let best = -1;
    let bestRank = Infinity;
    for (let i = 1, tried = 0; i <= SLOTS && tried < tries; i++) {
      const end = this.capacity + (this.#slot + i) % SLOTS;
      for (let row = this.#next[end] ?? end; row !== end && tried < tries; tried++) {
        const value = rank(row);
        if (value < bestRank) [best, bestRank] = [row, value];
        row = this.#next[row] ?? end;
      }
    }
    if (best >= 0) this.#unlink(best);
    return best;
  }

  #unlink(row: number): void {
    const next = this.#next[row] ?? row;
    const previous = this.#previous[row] ?? row;
    this.#next[previous] = next;
    this.#previous[next] = previous;
  }
}
