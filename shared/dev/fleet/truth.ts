/**
 * Ground truth: what royalty must count, from what was sent and what the edge answered.
 *
 * Pure. Holds a few numbers per title, and per event while copies of it are pending.
 *
 * Accounting. Every acknowledged copy has exactly one of four outcomes, so `sent = events +
 * duplicates + malformed + conflicts`: the first acknowledged copy of an event is counted; a
 * byte-identical later copy is a duplicate, dropped by the stream or found by royalty; a malformed
 * copy and a copy that reuses an id for other content are quarantined. An attempt without an answer
 * may have stored copies that are not acknowledged: `unknownCopies` is their upper bound.
 *
 * @module
 */
import type { ExpectedCredit, Send } from "./player.ts";
import { forgottenAfterMs } from "./uplink.ts";

/** What royalty credits a title. */
export interface TitleTotals {
  readonly ms: number;
  readonly events: number;
}

/**
 * `acknowledged`: the answer was 2xx. `refused`: given up. `unknown`: no answer, or 5xx, so the
 * event may be stored; it is retried or refused later.
 */
export type EventOutcome = "acknowledged" | "refused" | "unknown";

/** The accounting of this module. Counts are of copies unless stated otherwise. */
export interface TruthReport {
  readonly titles: ReadonlyMap<string, TitleTotals>;
  /** Acknowledged copies. */
  readonly sent: number;
  /** Distinct valid events acknowledged: what royalty counts. */
  readonly events: number;
  readonly ms: number;
  readonly duplicates: number;
  /** Of those, sent after the duplicate window: royalty must find them. */
  readonly duplicatesBeyondWindow: number;
  readonly malformed: number;
  readonly conflicts: number;
  readonly refused: number;
  /** Copies in attempts of unknown outcome. */
  readonly unknownCopies: number;
  /** Of those, malformed ones and conflicts: each may be one more entry in quarantine. */
  readonly unknownRejects: number;
  /** Given up after an unknown outcome: they may or may not be counted. */
  readonly doubtful: number;
}

interface ClaimState {
  /** The first bytes that were acknowledged. */
  standing?: Uint8Array;
  /** When that was answered: they were stored before. */
  answeredAtMs: number;
  unknown: boolean;
  doubtful: boolean;
}

/** Receives every outcome of a send; knows what the statement must contain. */
export class Truth {
  readonly #titles = new Map<string, { ms: number; events: number }>();
  readonly #claims = new WeakMap<ExpectedCredit, ClaimState>();
  readonly #counts = {
    sent: 0,
    events: 0,
    ms: 0,
    duplicates: 0,
    duplicatesBeyondWindow: 0,
    malformed: 0,
    conflicts: 0,
    refused: 0,
    unknownCopies: 0,
    unknownRejects: 0,
    doubtful: 0,
  };

  /** `duplicateWindowMs` is the stream's. */
  constructor(private readonly duplicateWindowMs: number) {}

  /** When the attempt began and was answered: at once unless given. Their origin does not matter. */
  record(
    send: Send,
    outcome: EventOutcome,
    sentAtMs: number,
    answeredAtMs: number = sentAtMs,
  ): void {
    const state = this.#stateOf(send.claim);
    if (outcome === "acknowledged") this.#acknowledged(send, state, sentAtMs, answeredAtMs);
    else if (outcome === "unknown") this.#unknown(send, state);
    else this.#refused(state);
  }

  /** The accounting so far. */
  report(): TruthReport {
    const titles = new Map([...this.#titles].map(([titleId, totals]) => [titleId, { ...totals }]));
    return { titles, ...this.#counts };
  }

  #acknowledged(send: Send, state: ClaimState, sentAtMs: number, answeredAtMs: number): void {
    const counts = this.#counts;
    counts.sent++;
    this.#settle(state);
    if (send.kind === "malformed") {
      counts.malformed++;
    } else if (state.standing === undefined) {
      state.standing = send.bytes;
      state.answeredAtMs = answeredAtMs;
      this.#credit(send);
    } else if (state.standing === send.bytes) {
      counts.duplicates++;
      const forgottenMs = forgottenAfterMs(this.duplicateWindowMs);
      if (sentAtMs - state.answeredAtMs >= forgottenMs) counts.duplicatesBeyondWindow++;
    } else {
      counts.conflicts++;
    }
  }

  #credit({ titleId, playedMs }: Send): void {
    const title = this.#titles.get(titleId) ?? { ms: 0, events: 0 };
    this.#titles.set(titleId, title);
    title.ms += playedMs;
    title.events++;
    this.#counts.ms += playedMs;
    this.#counts.events++;
  }

  #unknown(send: Send, state: ClaimState): void {
    state.unknown = true;
    this.#counts.unknownCopies++;
    if (send.kind === "malformed" || send.kind === "conflict") this.#counts.unknownRejects++;
  }

  #refused(state: ClaimState): void {
    this.#counts.refused++;
    if (!state.unknown || state.standing || state.doubtful) return;
    state.doubtful = true;
    this.#counts.doubtful++;
  }

  #settle(state: ClaimState): void {
    if (!state.doubtful) return;
    state.doubtful = false;
    this.#counts.doubtful--;
  }

  #stateOf(claim: ExpectedCredit): ClaimState {
    let state = this.#claims.get(claim);
    if (!state) {
      state = { answeredAtMs: 0, unknown: false, doubtful: false };
      this.#claims.set(claim, state);
    }
    return state;
  }
}
