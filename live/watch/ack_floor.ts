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
  // How often each is held. Sequences are added in ascending order, so the first is the lowest.
  readonly #held = new Map<number, number>();
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

  /** Keeps the floor below `sequence` until it is released as often as it was held. */
  hold(sequence: number): void {
    this.#held.set(sequence, (this.#held.get(sequence) ?? 0) + 1);
  }

  /** Releases `sequence` once: a copy is stored, or was given up. */
  release(sequence: number): void {
    const holds = this.#held.get(sequence) ?? 0;
    if (holds > 1) this.#held.set(sequence, holds - 1);
    else this.#held.delete(sequence);
  }

  /** Releases the held sequences for which `which` returns true; returns how often they were held. */
  releaseAll(which: (sequence: number) => boolean): number {
    let released = 0;
    for (const [sequence, holds] of this.#held) {
      if (!which(sequence)) continue;
      this.#held.delete(sequence);
      released += holds;
    }
    return released;
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
    const lowest = this.#held.keys().next().value;
    return lowest === undefined || lowest > sequence;
  }
}
