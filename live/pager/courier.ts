/**
 * Delivers to one receiver. Couriers share nothing but the records, so that a receiver that hangs
 * delays no other.
 *
 * Of an incident at most one message is on its way to a receiver, so that its end never overtakes
 * its page. A message that is not accepted is sent again, with back-off, for as long as the incident
 * is open, and for an hour after its end. What was refused is sent again each minute: a page while the
 * incident is open, an end for that hour.
 *
 * @module
 */
import type { ComparedClocks } from "../../shared/process/clock/clocks.ts";
import { messageOf } from "../../shared/process/errors.ts";
import type { Log } from "../../shared/process/log.ts";
import { pause } from "../../shared/process/retry.ts";
import {
  type DeliveryOutcome,
  type IncidentRecord,
  isTooLate,
  nextMessage,
  repeatedMessage,
} from "./incident_record.ts";
import type { PagerMetrics } from "./pager_metrics.ts";
import type { Records } from "./records.ts";
import { type AnswerVerdict, judgeAnswer } from "./receivers/answer.ts";
import { postOf } from "./receivers/post_of.ts";
import { send } from "./receivers/post.ts";
import type { Message, Receiver } from "./receivers/receiver.ts";

/** Maximum time for an answer, in ms. */
export const ANSWER_TIMEOUT_MS = 5_000;
/** Messages of different incidents on their way to one receiver at a time. */
const MAX_CONCURRENT = 8;
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;
/** When a page or an end that was refused is sent again: only a repair of the receiver helps. */
const REFUSED_RETRY_MS = 60_000;
const TICK_MS = 500;

/** An incident that a receiver has not got yet. */
interface Attempts {
  readonly count: number;
  /** When the next one may begin, by the monotonic clock. */
  readonly dueMs: number;
}

/** What a {@link Courier} needs. */
export interface CourierParts {
  readonly receiver: Receiver;
  readonly records: Pick<Records, "all" | "addOutcome">;
  /** Whether this process may deliver now. */
  readonly mayDeliver: () => boolean;
  readonly metrics: PagerMetrics;
  readonly log: Log;
  /** The time of day: that of ALERTS, and the earliest of all for what would be too late. */
  readonly clocks: Pick<ComparedClocks, "sharedMs" | "earliestMs">;
}

/** See the module. */
export class Courier {
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #attempts = new Map<string, Attempts>();
  readonly #repeatedMs = new Map<string, number>();
  /** The receiver asked for no message before this, by the monotonic clock. */
  #notBeforeMs = 0;
  #wake = new AbortController();

  constructor(readonly parts: CourierParts) {}

  /** There may be something to deliver. */
  wake(): void {
    this.#wake.abort();
  }

  /** Messages that wait for this receiver. */
  get waiting(): number {
    const { records, receiver } = this.parts;
    return records.all().filter((record) => nextMessage(record, receiver.name)).length;
  }

  /** Delivers until `term` is aborted; then waits for what is on its way. */
  async run(term: AbortSignal): Promise<void> {
    this.#attempts.clear();
    this.#repeatedMs.clear();
    const stop = () => this.wake();
    term.addEventListener("abort", stop, { once: true });
    while (!term.aborted && this.parts.mayDeliver()) {
      this.#wake = new AbortController();
      this.#startDue();
      await pause(TICK_MS, this.#wake.signal);
    }
    term.removeEventListener("abort", stop);
    await Promise.all(this.#underWay.values());
  }

  #startDue(): void {
    const nowMs = performance.now();
    if (nowMs < this.#notBeforeMs) return;
    const due = this.parts.records.all().flatMap((record) => {
      const id = record.incident_id;
      const attempts = this.#attempts.get(id);
      if (this.#underWay.has(id) || (attempts && nowMs < attempts.dueMs)) return [];
      const message = this.#next(record, nowMs);
      return message ? [{ record, message, tries: attempts?.count ?? 0 }] : [];
    });
    // What was never tried goes before what has failed.
    due.sort((a, b) => a.tries - b.tries);
    for (const { record, message } of due.slice(0, MAX_CONCURRENT - this.#underWay.size)) {
      const id = record.incident_id;
      const delivering = this.#deliver(record, message)
        .finally(() => {
          this.#underWay.delete(id);
          this.wake();
        });
      this.#underWay.set(id, delivering);
    }
  }

  #next(record: IncidentRecord, nowMs: number): Message | undefined {
    const { receiver } = this.parts;
    const message = nextMessage(record, receiver.name);
    if (message || receiver.kind !== "alertmanager") return message;
    // Three in each time-out, so that two may be lost.
    const everyMs = Math.max(500, receiver.resolveTimeoutMs / 3);
    const repeatedMs = this.#repeatedMs.get(record.incident_id) ?? -Infinity;
    return nowMs - repeatedMs < everyMs ? undefined : repeatedMessage(record, receiver.name);
  }

  async #deliver(record: IncidentRecord, message: Message): Promise<void> {
    const { receiver, metrics, clocks } = this.parts;
    if (isTooLate(record, clocks.earliestMs())) {
      await this.#settle(record, message, "given_up", "the incident ended an hour ago");
      return;
    }
    const startMs = performance.now();
    const verdict = await this.#send(message);
    metrics.answered(receiver.name, verdict.outcome, (performance.now() - startMs) / 1_000);
    if (verdict.outcome === "retry") return this.#later(record, message, verdict);
    const isRefused = verdict.outcome === "refused";
    if (isRefused && (message.step === "page" || message.step === "end")) {
      const count = (this.#attempts.get(record.incident_id)?.count ?? 0) + 1;
      const dueMs = performance.now() + REFUSED_RETRY_MS;
      this.#attempts.set(record.incident_id, { count, dueMs });
    } else this.#attempts.delete(record.incident_id);
    const isOver = message.step === "end";
    if (isOver) this.#repeatedMs.delete(record.incident_id);
    else this.#repeatedMs.set(record.incident_id, performance.now());
    if (message.step === "repeat") return;
    const why = verdict.outcome === "refused" ? verdict.why : undefined;
    await this.#settle(record, message, verdict.outcome, why);
  }

  async #send(message: Message): Promise<AnswerVerdict> {
    const { receiver, clocks } = this.parts;
    try {
      const sent = await send(postOf(receiver, message, clocks.sharedMs()), ANSWER_TIMEOUT_MS);
      if ("failure" in sent) return { outcome: "retry", why: sent.failure };
      return judgeAnswer(receiver.kind, sent.answer, clocks.sharedMs());
    } catch (error) {
      // A message that cannot be made would never be accepted; no other message may wait for it.
      return { outcome: "refused", why: messageOf(error) };
    }
  }

  async #settle(
    record: IncidentRecord,
    { step, alert, order }: Message,
    outcome: DeliveryOutcome,
    why?: string,
  ): Promise<void> {
    const { receiver, records, metrics, log, clocks } = this.parts;
    const { incident_id } = record;
    const fields = { receiver: receiver.name, incident_id, step, order };
    if (outcome === "delivered") log.info("live.pager.delivered", fields);
    else if (outcome === "refused") log.error("live.pager.refused", { ...fields, why });
    else log.error("live.pager.given_up", { ...fields, why });
    metrics.settled(receiver.name, step, outcome, (clocks.sharedMs() - alert.at) / 1_000);
    // An end that was refused stays to be told: the receiver would show the incident for ever.
    if (step === "end" && outcome === "refused") return;
    await records.addOutcome(incident_id, receiver.name, order, outcome);
  }

  #later(
    { incident_id }: IncidentRecord,
    { step, order }: Message,
    { why, waitMs }: Extract<AnswerVerdict, { outcome: "retry" }>,
  ): void {
    const { receiver, log } = this.parts;
    const count = (this.#attempts.get(incident_id)?.count ?? 0) + 1;
    const backOffMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(count - 1, 10));
    const nowMs = performance.now();
    const dueMs = nowMs + Math.max(backOffMs, waitMs ?? 0);
    this.#attempts.set(incident_id, { count, dueMs });
    // What a receiver asks for holds for everything that is sent to it.
    if (waitMs !== undefined) this.#notBeforeMs = Math.max(this.#notBeforeMs, nowMs + waitMs);
    const wait_ms = Math.round(dueMs - nowMs);
    const fields = { receiver: receiver.name, incident_id, step, order, attempt: count };
    log.warn("live.pager.retry", { ...fields, wait_ms, why });
  }
}
