/**
 * Metrics of the pager.
 *
 * @module
 */
import type { Counter, Histogram, Metrics } from "../../shared/process/metrics.ts";
import type { DeliveryOutcome } from "./incident_record.ts";
import type { AnswerVerdict } from "./receivers/answer.ts";
import type { Step } from "./receivers/receiver.ts";

const OUTCOMES: readonly DeliveryOutcome[] = ["delivered", "refused", "given_up"];
const SECONDS = [0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3_600];

/** What is read at every scrape. */
export interface PagerState {
  readonly isLeading: () => boolean;
  /** Incidents that are not over for every receiver. */
  readonly incidents: () => number;
  /** Messages that wait, by name of the receiver. */
  readonly waiting: () => Iterable<readonly [receiver: string, messages: number]>;
  /** Time since the last pulse of each service, ms. */
  readonly pulseAges: () => Iterable<readonly [service: string, ageMs: number]>;
}

/** See the module. */
export class PagerMetrics {
  readonly #attempts: Counter<"receiver" | "outcome">;
  readonly #answerSeconds: Histogram<"receiver">;
  readonly #messages: Counter<"receiver" | "step" | "outcome">;
  readonly #delaySeconds: Histogram<"receiver">;
  readonly #alerts: Counter<"outcome">;
  /** Messages that receivers have accepted: while a page waits, nothing else is progress. */
  achieved = 0;

  constructor(readonly metrics: Metrics) {
    this.#attempts = metrics.counter(
      "twofold_pager_attempts_total",
      "Requests to a receiver, by what its answer meant",
      ["receiver", "outcome"],
    );
    this.#answerSeconds = metrics.histogram(
      "twofold_pager_answer_seconds",
      "Time to the answer of a receiver",
      [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      ["receiver"],
    );
    this.#messages = metrics.counter(
      "twofold_pager_messages_total",
      "Messages that are settled, by step and outcome",
      ["receiver", "step", "outcome"],
    );
    this.#delaySeconds = metrics.histogram(
      "twofold_pager_delay_seconds",
      "Time from an alert to its acceptance as a page",
      SECONDS,
      ["receiver"],
    );
    this.#alerts = metrics.counter(
      "twofold_pager_alerts_total",
      "Messages of ALERTS read: usable, or unreadable and skipped",
      ["outcome"],
    );
  }

  /** A receiver answered, or did not, in `seconds`. */
  answered(receiver: string, outcome: AnswerVerdict["outcome"], seconds: number): void {
    this.#attempts.inc({ receiver, outcome });
    this.#answerSeconds.observe({ receiver }, seconds);
  }

  /** A message is settled, `seconds` after its alert was made. */
  settled(receiver: string, step: Step, outcome: DeliveryOutcome, seconds: number): void {
    if (outcome === "delivered") this.achieved += 1;
    this.#messages.inc({ receiver, step, outcome });
    if (step !== "page" || outcome !== "delivered") return;
    this.#delaySeconds.observe({ receiver }, Math.max(0, seconds));
  }

  /** A message of ALERTS was read. */
  read(outcome: "usable" | "unreadable"): void {
    this.#alerts.inc({ outcome });
  }

  /** Registers the gauges. */
  watch({ isLeading, incidents, waiting, pulseAges }: PagerState): void {
    // From 0 on, so that the first refusal is an increase.
    for (const [receiver] of waiting()) {
      for (const outcome of OUTCOMES) this.#messages.inc({ receiver, step: "page", outcome }, 0);
    }
    this.metrics.gaugeOf(
      "twofold_pager_leader",
      "1 if this process delivers, 0 if it stands by",
      () => isLeading() ? 1 : 0,
    );
    this.metrics.gaugeOf(
      "twofold_pager_incidents",
      "Incidents that paged and are not over for every receiver",
      incidents,
    );
    this.metrics.gaugeOf(
      "twofold_pager_waiting_messages",
      "Messages that a receiver has not accepted yet",
      () => [...waiting()].map(([receiver, messages]) => [{ receiver }, messages] as const),
      ["receiver"],
    );
    this.metrics.gaugeOf(
      "twofold_pager_pulse_age_seconds",
      "Time since the last pulse of a service; absent while a service that was never heard may be starting",
      () => [...pulseAges()].map(([service, ageMs]) => [{ service }, ageMs / 1_000] as const),
      ["service"],
    );
  }
}
