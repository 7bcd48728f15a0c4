/**
 * The royalty path of one stream, as a list of steps with the acknowledgement last:
 *
 * fetch → follow (no hole) → accrue → plan → copy rejects to quarantine → commit → ack.
 *
 * While one batch is posted the next is fetched and judged; no more than these two are in memory.
 * Whatever fails, the worker starts over from the position in the books: what was posted is skipped
 * or found among the known ids, what was not posted comes again.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { jetstream, type JetStreamClient } from "nats/jetstream";
import type { PipelineAlert } from "../../shared/contract/alert.ts";
import { quarantine } from "../../shared/contract/quarantine.ts";
import { messageOf, Refused, RetryAfter } from "../../shared/process/errors.ts";
import type { RoundPart } from "../../shared/process/health.ts";
import { pause } from "../../shared/process/retry.ts";
import type { Log } from "../../shared/process/log.ts";
import { alertSubject, DURABLE } from "../../shared/contract/topology.ts";
import { type Accrual, type AccrualRules, accrue, type Refusal } from "./accrue.ts";
import { type Continuation, type Cursor, follow, type Gap } from "./continuity.ts";
import type { Position } from "../books/accounts.ts";
import { LedgerSession, type Posting } from "./ledger.ts";
import { type Fetched, StreamReader, type StreamReaderOptions } from "./reader.ts";
import type { PostingMetrics } from "./posting_metrics.ts";

/** How often a standby asks whether the lead is free. */
const STANDBY_MS = 500;
/** Wait after a failure that names no other, and after one that a person has to settle. */
const RETRY_MS = 500;
const REFUSED_RETRY_MS = 10_000;
/** Wait before the durable is set back: another process's last fetch may still take messages. */
const BROKEN_MS = 200;
/** Copies to quarantine that may be under way at once. */
const QUARANTINE_IN_FLIGHT = 256;

/** What a worker is told once, in the order of its steps. */
export interface WorkerOptions extends StreamReaderOptions {
  readonly databaseUrl: string;
  readonly rules: AccrualRules;
  readonly witness?: Witness | undefined;
  /** Ms since the epoch. */
  readonly now: () => number;
}

/** Receives what is entered in the books, after the commit. Must not throw. */
export interface Witness {
  /** A lead of `stream` begins; what another process entered is not reported. */
  begins(stream: string): void;
  /** A batch of `stream` is entered. */
  entered(stream: string, accrual: Accrual): void;
}

type Continues = Extract<Continuation, { kind: "continues" }>;
type Broken = Extract<Continuation, { kind: "broken" }>;
/** A batch that is fetched, followed and judged. */
type Prepared = Continues & Accrual & Pick<Fetched, "acknowledge">;

/** Reads and posts one stream while it leads; otherwise stands by. */
export class StreamWorker {
  readonly #js: JetStreamClient;

  constructor(
    readonly stream: string,
    readonly nc: NatsConnection,
    readonly options: WorkerOptions,
    readonly metrics: PostingMetrics,
    readonly health: RoundPart,
    readonly log: Log,
  ) {
    this.#js = jetstream(nc);
  }

  /** Works until `signal` is aborted; a batch under way is finished first. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await using session = new LedgerSession(this.options.databaseUrl, this.stream);
        await this.#waitForLead(session, signal);
        if (!signal.aborted) await this.#lead(session, signal);
      } catch (error) {
        this.#failed(error);
        await pause(retryMs(error), signal);
      }
    }
  }

  async #waitForLead(session: LedgerSession, signal: AbortSignal): Promise<void> {
    for (let waits = 0; !signal.aborted && !(await session.lead()); waits++) {
      if (waits === 0) this.log.info("royalty.posting.standby", { stream: this.stream });
      this.health.works();
      await pause(STANDBY_MS, signal);
    }
  }

  async #lead(session: LedgerSession, signal: AbortSignal): Promise<void> {
    let position = await session.position();
    this.metrics.at(position);
    this.options.witness?.begins(this.stream);
    using reader = await StreamReader.open(this.nc, this.stream, this.options);
    this.log.info("royalty.posting.leading", { stream: this.stream, last_seq: position.lastSeq });
    while (!signal.aborted) {
      const cursor = await reader.rewind(position);
      await this.#announceGaps(session);
      position = await this.#work(session, reader, position, cursor, signal);
    }
  }

  // Ends when the durable has to be set back, or at the stop.
  async #work(
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
        await pause(BROKEN_MS, signal);
        return position;
      }
      next = this.#prepare(reader, prepared.cursor);
      // Awaited in the next round; a failure meanwhile is not unhandled.
      next.catch(() => {});
      position = prepared.fresh.length > 0
        ? await this.#settle(session, position, prepared)
        : await session.position();
      // Only a whole round shows that every step works.
      this.health.works();
    }
    return position;
  }

  async #prepare(reader: StreamReader, cursor: Cursor): Promise<Prepared | Broken> {
    const { deliveries, acknowledge } = await reader.fetch();
    const continuation = follow(cursor, deliveries);
    if (continuation.kind === "broken") return continuation;
    if (continuation.kind === "rewritten") {
      throw new Refused(
        `${this.stream} is not the stream that was counted: ${continuation.reason}. It was ` +
          "restored or made anew. Nothing is counted until a person has decided",
      );
    }
    const accrual = accrue(continuation.fresh, this.options.rules);
    return { ...continuation, ...accrual, acknowledge };
  }

  async #settle(
    session: LedgerSession,
    position: Position,
    batch: Prepared,
  ): Promise<Position> {
    const { stream } = this;
    const { claims, refusals, gaps, cursor, fresh, acknowledge } = batch;
    const startMs = performance.now();
    await this.#setAside(refusals);
    const after = position.lastSeq;
    const posting = { stream, after, through: cursor, claims, refusals, gaps };
    const posted = await this.#post(session, posting);
    this.options.witness?.entered(stream, { claims, refusals });
    const seconds = (performance.now() - startMs) / 1_000;
    this.metrics.posted(position, posted, fresh.length, seconds);
    // Only spares redelivery: the books know the position. The next batch's ack covers a lost one.
    if (!(await acknowledge())) this.log.warn("royalty.posting.ack_unanswered", { stream });
    if (gaps.length > 0) await this.#announceGaps(session);
    return posted;
  }

  // No transaction is open while the conflicts are on their way to the quarantine.
  async #post(session: LedgerSession, posting: Posting): Promise<Position> {
    for (;;) {
      const plan = await session.plan(posting);
      await this.#setAside(plan.settlement.conflicts);
      const outcome = await session.commit(posting, plan);
      // Otherwise a day was sealed in between, and the credits belong to another one.
      if (outcome.kind === "committed") return outcome.position;
    }
  }

  async #setAside(refusals: readonly Refusal[]): Promise<void> {
    try {
      for (let i = 0; i < refusals.length; i += QUARANTINE_IN_FLIGHT) {
        const some = refusals.slice(i, i + QUARANTINE_IN_FLIGHT);
        await Promise.all(
          some.map((refusal) =>
            quarantine(this.#js, DURABLE.royalty, { stream: this.stream, ...refusal })
          ),
        );
      }
    } catch (error) {
      throw new RetryAfter(`QUARANTINE takes no copy: ${messageOf(error)}`, 1_000, {
        cause: error,
      });
    }
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

  #failed(error: unknown): void {
    this.metrics.standsBy(this.stream);
    this.health.fails(`${this.stream}: ${messageOf(error)}`);
    this.log.warn("royalty.posting.retry", { stream: this.stream, error });
  }
}

function retryMs(error: unknown): number {
  if (error instanceof RetryAfter) return error.retryAfterMs;
  return error instanceof Refused ? REFUSED_RETRY_MS : RETRY_MS;
}

/** The alert for sequences that the stream lost before they were counted. */
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
      `sequences ${firstSeq} to ${lastSeq}. Their minutes cannot be known`,
    value: missing,
    limit: 0,
  };
}
