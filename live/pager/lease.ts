/**
 * The lease in KV_PAGER: of any number of pagers, the one that holds it delivers.
 *
 * It is a message that the server removes after {@link LEASE_MS} unless its holder replaces it. The
 * holder counts from before it asked, by a monotonic clock, and stops {@link MARGIN_MS} earlier, so
 * that a process that was frozen does not believe in a lease that another one has.
 *
 * @module
 */
import { JetStreamApiError, type JetStreamManager } from "nats/jetstream";
import { PAGER_LEASE_SUBJECT, PAGER_STATE } from "../../shared/contract/topology.ts";
import type { Log } from "../../shared/process/log.ts";
import { natsMessageOf } from "../../shared/process/nats.ts";
import { pause } from "../../shared/process/retry.ts";

/** Time after which the lease of a pager that died is free, in ms. */
export const LEASE_MS = 5_000;
const MARGIN_MS = 1_000;
const RENEW_MS = 1_000;
const TIMEOUT_MS = 1_000;
/** JetStream error code "wrong last sequence": another message is the last of the subject. */
const WRONG_SEQUENCE_CODE = 10071;

/** Whether JetStream refused a write because another one was first. */
export function isOvertaken(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === WRONG_SEQUENCE_CODE;
}

/** Takes the lease when it is free, and renews it while it is held. */
export class Lease {
  #revision = 0;
  #heldUntilMs = 0;
  #term = new AbortController();
  #isOver = false;
  /** When another process was last seen to hold the lease. */
  #seenMs = performance.now();
  /** The process that was last known to hold the lease; this one before it is known. */
  knownHolder: string;
  /** Called when another process is seen to hold the lease. */
  onTaken: () => void = () => {};

  constructor(readonly jsm: JetStreamManager, readonly holder: string, readonly log: Log) {
    this.#term.abort();
    this.knownHolder = holder;
  }

  /** Whether this process may deliver now. */
  get isHeld(): boolean {
    return performance.now() < this.#heldUntilMs;
  }

  /** Whether this process or another one holds the lease, as far as this one can see. */
  get isTaken(): boolean {
    return this.isHeld || performance.now() - this.#seenMs < LEASE_MS;
  }

  /** Aborted when the present term ends. */
  get term(): AbortSignal {
    return this.#term.signal;
  }

  /** Takes and renews the lease until {@link release}. Never rejects. */
  async run(): Promise<void> {
    let isKnown = true;
    while (!this.#isOver) {
      try {
        await this.#renew();
        isKnown = true;
      } catch (error) {
        if (isKnown) this.log.warn("live.pager.lease_retry", { error: natsMessageOf(error) });
        isKnown = false;
      }
      if (!this.isHeld) this.#term.abort();
      await pause(RENEW_MS);
    }
  }

  /** Gives the lease up, so that another process has it in about a second. */
  async release(): Promise<void> {
    this.#isOver = true;
    const wasHeld = this.isHeld;
    this.#lose();
    if (wasHeld) await this.#put("1s").catch(() => {});
  }

  async #renew(): Promise<void> {
    const startMs = performance.now();
    try {
      await this.#put(`${LEASE_MS / 1_000}s`);
    } catch (error) {
      if (!isOvertaken(error)) throw error;
      const last = await this.jsm.direct.getMessage(PAGER_STATE, {
        last_by_subj: PAGER_LEASE_SUBJECT,
      });
      // An acknowledgement of ours was lost: the next round goes on from there.
      const isOurs = last?.string() === this.holder;
      this.#revision = isOurs ? last.seq : 0;
      if (!isOurs) this.#lose();
      if (last !== null) this.knownHolder = last.string();
      if (last !== null && !isOurs) {
        this.#seenMs = performance.now();
        this.onTaken();
      }
      return;
    }
    if (this.#isOver) return;
    this.knownHolder = this.holder;
    this.#heldUntilMs = startMs + LEASE_MS - MARGIN_MS;
    if (this.#term.signal.aborted) this.#term = new AbortController();
  }

  async #put(ttl: string): Promise<void> {
    const { seq } = await this.jsm.jetstream().publish(PAGER_LEASE_SUBJECT, this.holder, {
      ttl,
      timeout: TIMEOUT_MS,
      expect: { lastSubjectSequence: this.#revision },
    });
    this.#revision = seq;
  }

  #lose(): void {
    this.#heldUntilMs = 0;
    this.#term.abort();
  }
}
