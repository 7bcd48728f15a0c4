/**
 * Heartbeats in memory that a decider of live takes in, in place of streams.
 *
 * @module
 */

/** What was heard of one stream; `H` is a heartbeat as its reader takes it in. */
export class HeardStream<H> {
  /** Whether {@link toMs} is known. */
  isKnown = true;
  /** Share of the heartbeats that was heard. */
  share = 1;
  #waiting: { readonly heartbeat: H; readonly receivedAtMs: number }[] = [];

  /** @param toMs Receipt time up to which the stream was heard, ms since the epoch. */
  constructor(public toMs: number) {}

  /** Adds a heartbeat; receipts ascend. */
  add(heartbeat: H, receivedAtMs: number): void {
    this.#waiting.push({ heartbeat, receivedAtMs });
  }

  heardToMs(): number | undefined {
    return this.isKnown ? this.toMs : undefined;
  }

  pour(
    untilMs: number,
    onHeartbeat: (heartbeat: H, receivedAtMs: number, lane: number) => void,
  ): boolean {
    const later = this.#waiting.findIndex(({ receivedAtMs }) => receivedAtMs >= untilMs);
    const due = later < 0 ? this.#waiting : this.#waiting.slice(0, later);
    this.#waiting = later < 0 ? [] : this.#waiting.slice(later);
    for (const { heartbeat, receivedAtMs } of due) onHeartbeat(heartbeat, receivedAtMs, 0);
    return true;
  }

  get firstMs(): number {
    return this.#waiting[0]?.receivedAtMs ?? Infinity;
  }

  coverage(): number {
    return this.share;
  }
}
