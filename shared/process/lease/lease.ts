/**
 * A lease: of any number of processes, at most one holds it.
 *
 * It is a message of a stream of its last values that the server removes after the time of the lease
 * unless its holder replaces it. The holder counts from before it asked, by a monotonic clock, and
 * stops {@link MARGIN_MS} earlier, so that a process that was frozen does not believe in a lease that
 * another one has.
 *
 * @module
 */
import { NoRespondersError } from "nats";
import { JetStreamApiError, type JetStreamManager } from "nats/jetstream";
import { pause } from "../retry.ts";

const MARGIN_MS = 1_000;
const TIMEOUT_MS = 1_000;
/** JetStream error code "wrong last sequence": another message is the last of the subject. */
const WRONG_SEQUENCE_CODE = 10071;

/** Whether JetStream refused a write because another one was first. */
export function isOvertaken(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === WRONG_SEQUENCE_CODE;
}

// Nobody listens to the subject, or the stream to read from is unknown.
function isNowhere(error: unknown): boolean {
  if (error instanceof NoRespondersError) return true;
  if (!(error instanceof Error)) return false;
  // JetStream's publish wraps it, without its class.
  return /no responders|stream not found/.test(error.message) || isNowhere(error.cause);
}

/** What a {@link Lease} is. */
export interface LeaseOptions {
  readonly jsm: JetStreamManager;
  /** A stream that keeps one message a subject and allows a time to live of messages. */
  readonly stream: string;
  readonly subject: string;
  /** The name of this process. */
  readonly holder: string;
  /** Time after which the lease of a process that died is free, in ms: more than {@link MARGIN_MS}. */
  readonly leaseMs: number;
  /** Time between two attempts to take or renew it, in ms. */
  readonly renewMs: number;
  /** Called with the first failure to ask for the lease after a success. */
  readonly onRetry: (error: unknown) => void;
}

/** Takes the lease when it is free, and renews it while it is held. */
export class Lease {
  #revision = 0;
  #heldUntilMs = 0;
  #term = new AbortController();
  #isOver = false;
  #missingSinceMs = Infinity;
  /** When another process was last seen to hold the lease. */
  #seenMs = performance.now();
  /**
   * When the stream last answered a write, be it that another one was first; by the monotonic clock,
   * in ms.
   */
  answeredMs = performance.now();
  /** The process that was last known to hold the lease; this one before it is known. */
  knownHolder: string;
  /** Called when another process is seen to hold the lease. */
  onTaken: () => void = () => {};

  /** Whether it is wanted; a lease that is not is neither taken nor renewed. */
  isWanted = true;

  constructor(readonly options: LeaseOptions) {
    this.#term.abort();
    this.knownHolder = options.holder;
  }

  /**
   * Whether the stream of the lease has been missing for so long that nobody can hold it. A cluster
   * that elects a leader of the stream answers like that for a moment, too.
   */
  get isMissing(): boolean {
    return performance.now() - this.#missingSinceMs >= this.options.leaseMs;
  }

  /** Whether this process may deliver now. */
  get isHeld(): boolean {
    return performance.now() < this.#heldUntilMs;
  }

  /** Whether this process or another one holds the lease, as far as this one can see. */
  get isTaken(): boolean {
    return this.isHeld || performance.now() - this.#seenMs < this.options.leaseMs;
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
        if (this.isWanted) await this.#renew();
        isKnown = true;
        this.answeredMs = performance.now();
        this.#missingSinceMs = Infinity;
      } catch (error) {
        if (isKnown) this.options.onRetry(error);
        isKnown = false;
        if (!isNowhere(error)) this.#missingSinceMs = Infinity;
        else this.#missingSinceMs = Math.min(this.#missingSinceMs, performance.now());
      }
      if (!this.isHeld) this.#term.abort();
      await pause(this.options.renewMs);
    }
  }

  /** Gives the lease up, so that another process has it in about a second. */
  async release(): Promise<void> {
    this.#isOver = true;
    await this.giveUp();
  }

  /** The same, but takes it again when it is wanted and free. */
  async giveUp(): Promise<void> {
    const wasHeld = this.isHeld;
    this.#lose();
    if (wasHeld) await this.#put("1s").catch(() => {});
  }

  async #renew(): Promise<void> {
    const startMs = performance.now();
    try {
      await this.#put(`${this.options.leaseMs / 1_000}s`);
    } catch (error) {
      if (!isOvertaken(error)) throw error;
      const { jsm, stream, subject, holder } = this.options;
      const last = await jsm.direct.getMessage(stream, { last_by_subj: subject });
      // An acknowledgement of ours was lost: the next round goes on from there.
      const isOurs = last?.string() === holder;
      this.#revision = isOurs ? last.seq : 0;
      if (!isOurs) this.#lose();
      if (last !== null) this.knownHolder = last.string();
      if (last !== null && !isOurs) {
        this.#seenMs = performance.now();
        this.onTaken();
      }
      return;
    }
    if (this.#isOver || !this.isWanted) return;
    this.knownHolder = this.options.holder;
    this.#heldUntilMs = startMs + this.options.leaseMs - MARGIN_MS;
    if (this.#term.signal.aborted) this.#term = new AbortController();
  }

  async #put(ttl: string): Promise<void> {
    const { jsm, subject, holder } = this.options;
    const { seq } = await jsm.jetstream().publish(subject, holder, {
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
