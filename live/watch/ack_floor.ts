/**
 * Which message may be acknowledged next, when acknowledging one acknowledges all before it.
 *
 * Pure. A rejected message holds the floor below it until its copy is in the quarantine; the floor
 * never passes a held sequence.
 *
 * @module
 */
interface Handled<M> {
  readonly sequence: number;
  readonly message: M;
}

export class AckFloor<M> {
  // Sequences come in ascending order, so the first of the set is the lowest.
  readonly #held = new Set<number>();
  #last: Handled<M> | undefined;
  #candidate: Handled<M> | undefined;
  #dirty = false;
  #acked = 0;

  /** Highest sequence handled; those at or below it that come again are redeliveries. */
  get handledTo(): number {
    return this.#last?.sequence ?? 0;
  }
  /** Sequences between the last acknowledgement and the last message handled. */
  get unacknowledged(): number {
    return this.#last && this.#acked > 0 ? this.#last.sequence - this.#acked : 0;
  }

  /** `message` has been dealt with, or is being copied and held. Sequences ascend. */
  handled(sequence: number, message: M): void {
    if (this.#acked === 0) this.#acked = sequence - 1;
    this.#last = { sequence, message };
    this.#dirty = true;
  }

  /** A message came again: the server has not heard, or was not sent, its acknowledgement. */
  redelivered(): void {
    this.#dirty = true;
  }

  /** Keeps the floor below `sequence`. */
  hold(sequence: number): void {
    this.#held.add(sequence);
  }

  /** The copy of `sequence` is safe, or has been given up. */
  release(sequence: number): void {
    this.#held.delete(sequence);
  }

  /** Gives up every hold; returns how many there were. */
  releaseAll(): number {
    const held = this.#held.size;
    this.#held.clear();
    return held;
  }

  /** The message to acknowledge now, if any. */
  take(): M | undefined {
    if (!this.#dirty || !this.#last) return undefined;
    if (this.#isFree(this.#last)) {
      this.#dirty = false;
      return this.#acknowledge(this.#last);
    }
    // Under a steady flow of rejects the newest message is never free; one remembered here is soon.
    const candidate = this.#candidate ?? this.#last;
    this.#candidate = candidate;
    return this.#isFree(candidate) ? this.#acknowledge(candidate) : undefined;
  }

  #acknowledge({ sequence, message }: Handled<M>): M {
    this.#candidate = undefined;
    this.#acked = sequence;
    return message;
  }

  #isFree({ sequence }: Handled<M>): boolean {
    const lowest = this.#held.values().next().value;
    return lowest === undefined || lowest > sequence;
  }
}
