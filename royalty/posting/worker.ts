/**
 * Posts one stream, as a list of steps with the acknowledgement last:
 *
 * fetch → follow (find gaps) → accrue → plan → commit → ack.
 *
 * What is refused is entered in the books with its batch; `rejects` copies it to QUARANTINE, for which
 * nothing here waits.
 *
 * While one batch is posted, the next is fetched and judged; at most these two are in memory. After
 * any failure the worker restarts from the position in the books: events that were posted are
 * skipped or recognised as duplicates, the others are delivered again.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstream, type JetStreamClient } from "nats/jetstream";
import type { PipelineAlert } from "../../shared/contract/alert.ts";
import { messageOf, Refused, RetryAfter } from "../../shared/process/errors.ts";
import type { ComparedClocks } from "../../shared/process/clock/clocks.ts";
import type { RoundPart } from "../../shared/process/health.ts";
import { pause } from "../../shared/process/retry.ts";
import { natsFailure } from "../../shared/process/nats.ts";
import type { Log } from "../../shared/process/log.ts";
import { deliveriesIn } from "../../shared/contract/delivery/delivery.ts";
import { alertSubject } from "../../shared/contract/topology.ts";
import { type Accrual, type AccrualRules, accrue, type Refusal } from "./accrue.ts";
import { BatchLimit } from "./batch_limit.ts";
import { type Continuation, type Cursor, follow, type Gap } from "./continuity.ts";
import type { Position } from "../books/accounts.ts";
import { leadOf, LedgerSession, type Posting } from "./ledger.ts";
import { type Fetched, StreamReader } from "./reader.ts";
import type { PostingMetrics } from "./posting_metrics.ts";

/** How often a standby tries to take the lead. */
const STANDBY_POLL_MS = 500;
/** Wait after an error without a time of its own, and after one that a person has to resolve. */
const RETRY_MS = 500;
const REFUSED_RETRY_MS = 10_000;
/** Wait before a rewind, because the last fetch of another process may still take messages. */
const REWIND_DELAY_MS = 200;
/** Wait while the clock of the stream is not confirmed. */
const CLOCK_RETRY_MS = 2_000;
/** Plans per batch. A plan is outdated, rarely, by a seal or by another stream with the same key. */
const MAX_PLANS = 5;

/** Options of a {@link StreamWorker}. */
export interface WorkerOptions {
  /** Maximum events per batch. */
  readonly maxEvents: number;
  /** Maximum time that a batch waits to fill, ms. */
  readonly maxWaitMs: number;
  /** Postgres URL of the books. */
  readonly databaseUrl: string;
  readonly rules: AccrualRules;
  readonly observers: readonly PostingObserver[];
  /** The clock, ms since the epoch. */
  readonly now: () => number;
  /** Tells whether the clock that stamps receipts may be believed. */
  readonly clocks: Pick<ComparedClocks, "confirm">;
}

/** Observes what this process posts, after the commit. Its methods must not throw. */
export interface PostingObserver {
  /** This process starts to lead `stream`. What another process posted before is not reported. */
  leadStarted(stream: string): void;
  /** A batch of `stream` was posted. */
  posted(stream: string, accrual: Accrual): void;
}

type Continues = Extract<Continuation, { kind: "continues" }>;
type Broken = Extract<Continuation, { kind: "broken" }>;
/** A batch that was fetched, followed and judged. */
type Prepared = Continues & Accrual & Pick<Fetched, "acknowledge"> & {
  /** Events in the fresh messages. */
  readonly events: number;
};

/** Reads and posts one stream while this process leads it; otherwise stands by. */
export class StreamWorker {
  readonly #js: JetStreamClient;
  readonly #limit: BatchLimit;

  constructor(
    readonly stream: string,
    readonly nc: NatsConnection,
    readonly options: WorkerOptions,
    readonly metrics: PostingMetrics,
    readonly health: RoundPart,
    readonly log: Log,
  ) {
    this.#js = jetstream(nc);
    this.#limit = new BatchLimit(options.maxEvents);
    metrics.batchLimit(stream, this.#limit);
  }

  /** Runs until `signal` is aborted; a batch in progress is finished first. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const lock = leadOf(this.stream);
    while (!signal.aborted) {
      try {
        await using session = new LedgerSession(this.options.databaseUrl, this.stream, lock);
        await this.#waitForLead(session, signal);
        if (!signal.aborted) await this.#lead(session, signal);
      } catch (thrown) {
        const error = natsFailure(thrown, RETRY_MS);
        this.#reportFailure(error);
        await pause(retryMs(error), signal);
      }
    }
  }

  async #waitForLead(session: LedgerSession, signal: AbortSignal): Promise<void> {
    for (let waits = 0; !signal.aborted && !(await session.lead()); waits++) {
      if (waits === 0) this.log.info("royalty.posting.standby", { stream: this.stream });
      this.health.works();
      await pause(STANDBY_POLL_MS, signal);
    }
  }

  async #lead(session: LedgerSession, signal: AbortSignal): Promise<void> {
    let position = await session.position();
    this.metrics.leading(position);
    for (const observer of this.options.observers) observer.leadStarted(this.stream);
    using reader = await StreamReader.open(this.nc, this.stream, this.options.maxWaitMs);
    this.log.info("royalty.posting.leading", { stream: this.stream, last_seq: position.lastSeq });
    while (!signal.aborted) {
      const cursor = await reader.rewind(position);
      await this.#announceGaps(session);
      position = await this.#postUntilBroken(session, reader, position, cursor, signal);
    }
  }

  // Returns when a rewind is needed, or when `signal` is aborted.
  async #postUntilBroken(
    session: LedgerSession,
    reader: StreamReader,
    start: Position,
    cursor: Cursor,
    signal: AbortSignal,
  ): Promise<Position> {
    let position = start;
    let next = this.#prepare(reader, cursor);
    while (!signal.aborted) {
      const prepared = await next;
      if (prepared.kind === "broken") {
        this.log.warn("royalty.posting.rewind", { stream: this.stream, reason: prepared.reason });
        await pause(REWIND_DELAY_MS, signal);
        return position;
      }
      next = this.#prepare(reader, prepared.cursor);
      // Awaited in the next round. Without this, a failure meanwhile would be an unhandled rejection.
      next.catch(() => {});
      position = prepared.fresh.length > 0
        ? await this.#postBatch(session, position, prepared)
        : await session.position();
      // Reported after a whole round, which shows that every step works.
      this.health.works();
    }
    return position;
  }

  async #prepare(reader: StreamReader, cursor: Cursor): Promise<Prepared | Broken> {
    const { messages, acknowledge } = await reader.fetch(this.#limit.events);
    const continuation = follow(cursor, messages);
    if (continuation.kind === "broken") return continuation;
    if (continuation.kind === "rewritten") {
      throw new Refused(
        `${this.stream} is not the stream that was counted: ${continuation.reason}. It was ` +
          "restored or recreated. Nothing is counted until a person has decided",
      );
    }
    const deliveries = continuation.fresh.flatMap(deliveriesIn);
    const accrual = accrue(deliveries, this.options.rules);
    if (accrual.refusals.some(isForItsAge)) await this.#believeReceipts();
    return { ...continuation, ...accrual, events: deliveries.length, acknowledge };
  }

  /**
   * Rejects with {@link RetryAfter} while no other clock agrees with the one that stamps receipts:
   * an event is refused for its age only by a time that somebody else confirms.
   */
  async #believeReceipts(): Promise<void> {
    try {
      await this.options.clocks.confirm(this.stream);
    } catch (error) {
      throw new RetryAfter(
        `events would be refused for their age, but ${
          messageOf(error)
        }. Nothing is counted until ` +
          "the clock is right",
        CLOCK_RETRY_MS,
        { cause: error },
      );
    }
  }

  async #postBatch(
    session: LedgerSession,
    position: Position,
    batch: Prepared,
  ): Promise<Position> {
    const { stream } = this;
    const { claims, refusals, canaries, gaps, cursor, events, acknowledge } = batch;
    const startMs = performance.now();
    const after = position.lastSeq;
    const posting = { stream, after, through: cursor, events, claims, refusals, canaries, gaps };
    const posted = await this.#withinLimit(events, () => this.#post(session, posting));
    for (const observer of this.options.observers) {
      observer.posted(stream, { claims, refusals, canaries });
    }
    const seconds = (performance.now() - startMs) / 1_000;
    this.metrics.posted(position, posted, events, seconds);
    // Only avoids redelivery: the position is in the books. The next ack covers a lost one.
    if (!(await acknowledge())) this.log.warn("royalty.posting.ack_unanswered", { stream });
    if (gaps.length > 0) await this.#announceGaps(session);
    return posted;
  }

  /** Posts a batch of `events` with `post`, and learns from it how large the next ones may be. */
  async #withinLimit<T>(events: number, post: () => Promise<T>): Promise<T> {
    const startMs = performance.now();
    const wasReduced = this.#limit.isReduced;
    try {
      const result = await post();
      this.#limit.posted(events, performance.now() - startMs);
      return result;
    } catch (error) {
      if (error instanceof RetryAfter) this.#limit.failed(events);
      throw error;
    } finally {
      const { isReduced, events: max_events } = this.#limit;
      const { stream } = this;
      if (isReduced && !wasReduced) {
        this.log.warn("royalty.posting.batches_reduced", { stream, max_events });
      } else if (wasReduced && !isReduced) {
        this.log.info("royalty.posting.batches_whole", { stream, max_events });
      }
    }
  }

  async #post(session: LedgerSession, posting: Posting): Promise<Position> {
    for (let plans = 0; plans < MAX_PLANS; plans++) {
      const plan = await session.plan(posting);
      const outcome = await session.commit(posting, plan);
      if (outcome.kind === "committed") return outcome.position;
    }
    throw new RetryAfter(`${MAX_PLANS} plans of a batch were outdated before their commit`, 500);
  }

  async #announceGaps(session: LedgerSession): Promise<void> {
    for (const gap of await session.unannouncedGaps()) {
      const alert = gapAlert(this.stream, gap, this.options.now());
      this.log.error("royalty.posting.gap", {
        stream: this.stream,
        first_seq: gap.firstSeq,
        last_seq: gap.lastSeq,
      });
      await this.#js.publish(alertSubject.pipeline("royalty-gap"), JSON.stringify(alert), {
        msgID: alert.incident_id,
      });
      await session.announced(gap);
    }
  }

  #reportFailure(error: unknown): void {
    this.metrics.notLeading(this.stream);
    this.health.fails(`${this.stream}: ${messageOf(error)}`);
    this.log.warn("royalty.posting.retry", { stream: this.stream, error });
  }
}

function isForItsAge({ rejection: { reason } }: Refusal): boolean {
  return reason === "too_late" || reason === "from_the_future";
}

function retryMs(error: unknown): number {
  if (error instanceof RetryAfter) return error.retryAfterMs;
  return error instanceof Refused ? REFUSED_RETRY_MS : RETRY_MS;
}

/** The alert for a gap: sequences that `stream` lost before they were counted. */
export function gapAlert(stream: string, gap: Gap, nowMs: number): PipelineAlert {
  const { firstSeq, lastSeq } = gap;
  const missing = lastSeq - firstSeq + 1;
  return {
    v: 1,
    kind: "pipeline",
    what: "royalty-gap",
    incident_id: `royalty-gap:${stream}:${firstSeq}`,
    status: "open",
    severity: "page",
    opened_at: nowMs,
    at: nowMs,
    summary: `${stream} lost ${missing} messages before royalty counted them: ` +
      `sequences ${firstSeq} to ${lastSeq}. Their minutes are unknown`,
    value: missing,
    limit: 0,
  };
}
