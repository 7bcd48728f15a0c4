/**
 * Decides which message to acknowledge next with ack-all, where one acknowledgement covers all
 * messages before it.
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

/** The ack floor of one durable; `M` is a message that can be acknowledged. */
export class AckFloor<M> {
  // Sequences are added in ascending order, so the first of the set is the lowest.
  readonly #held = new Set<number>();
  #last: Handled<M> | undefined;
  #candidate: Handled<M> | undefined;
  #isAckDue = false;
  #acked = 0;

  /** Highest sequence handled; a delivery at or below it is a redelivery. */
  get handledTo(): number {
    return this.#last?.sequence ?? 0;
  }
  /** Number of sequences from the last acknowledgement to the last message handled. */
  get unacknowledged(): number {
    return this.#last && this.#acked > 0 ? this.#last.sequence - this.#acked : 0;
  }

  /** Notes that `message` was handled, or is held while it is copied. Sequences ascend. */
  handled(sequence: number, message: M): void {
    if (this.#acked === 0) this.#acked = sequence - 1;
    this.#last = { sequence, message };
    this.#isAckDue = true;
  }

  /** Notes a redelivery: the server has not received the acknowledgement, so send it again. */
  redelivered(): void {
    this.#isAckDue = true;
  }

  /** Keeps the floor below `sequence`. */
  hold(sequence: number): void {
    this.#held.add(sequence);
  }

  /** Releases `sequence`: its copy is stored, or was given up. */
  release(sequence: number): void {
    this.#held.delete(sequence);
  }

  /** Releases the held sequences for which `which` returns true; returns their number. */
  releaseAll(which: (sequence: number) => boolean): number {
    const released = [...this.#held].filter(which);
    for (const sequence of released) this.#held.delete(sequence);
    return released.length;
  }

  /** The message to acknowledge now, if any. */
  take(): M | undefined {
    if (!this.#isAckDue || !this.#last) return undefined;
    if (this.#isFree(this.#last)) {
      this.#isAckDue = false;
      return this.#acknowledge(this.#last);
    }
    // With a steady flow of rejects the newest message is never free, but an earlier candidate
    // becomes free soon.
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
