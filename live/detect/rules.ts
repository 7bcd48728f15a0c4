/**
 * The rules that open and resolve rebuffering incidents.
 *
 * Pure: event time is an argument, and the rules are independent of NATS and of alert payloads.
 *
 * Rebuffer ratio = Σ rebuffer_ms / Σ (played_ms + rebuffer_ms), the rebuffering percentage of Mux.
 * Start-up is not rebuffering: players report it in neither field.
 *
 * An incident opens when, in `openAfterEvaluations` consecutive evaluations, some span of the
 * newest heartbeats has
 * - a large enough sample, and
 * - enough stalled sessions, because one broken device is not an incident, and
 * - a ratio above the threshold with 95 % confidence ({@link wilsonLowerBound}).
 * The spans are the window, its newest half and its newest quarter: an incident younger than the
 * window is diluted by the healthy time before it, and the shorter spans find it sooner.
 *
 * An incident resolves when the ratio over the window has been at or below a lower threshold for
 * `resolveAfterMs`. A window without heartbeats is `no_data`, which is not health: it resolves
 * nothing, and the wait for health starts again. After `closeWithoutDataMs` without data the
 * incident is closed with the outcome `no_data`.
 *
 * @module
 */
import type { Cell, Key, Sums } from "../watch/window.ts";

/** Thresholds and waits of {@link Rules}. Ratios are 0 to 1; durations are ms of event time. */
export interface RuleOptions {
  /** Ratio above which an incident opens. */
  readonly openRatio: number;
  /** Ratio at or below which it resolves; below `openRatio`. */
  readonly resolveRatio: number;
  /** Minimum sample to open an incident, in heartbeats of `heartbeatMs`. */
  readonly minHeartbeats: number;
  /** Minimum stalled sessions to open an incident. */
  readonly minStalledSessions: number;
  /** Consecutive evaluations that must agree before an incident opens. */
  readonly openAfterEvaluations: number;
  /** Time of health after which an incident resolves. */
  readonly resolveAfterMs: number;
  /** Time without data after which an incident is closed. */
  readonly closeWithoutDataMs: number;
  /** Nominal time between two heartbeats of a session. */
  readonly heartbeatMs: number;
  /** Number of buckets of the window. */
  readonly windowBuckets: number;
}

/** The sums that a decision is based on. */
export interface Evidence extends Sums {
  /** Number of newest buckets summed. */
  readonly buckets: number;
  /** Rebuffer ratio, 0 to 1. */
  readonly ratio: number;
  readonly stalledSessions: number;
  /** Receipt of the newest heartbeat of the title and region, ms since the epoch. */
  readonly receivedAt: number;
}

/** Why an incident was resolved. */
export type IncidentOutcome = "recovered" | "no_data";

/** An incident to open or resolve. */
export type Decision =
  | { readonly change: "opened"; readonly key: Key; readonly evidence: Evidence }
  | {
    readonly change: "resolved";
    readonly key: Key;
    readonly evidence: Evidence;
    readonly outcome: IncidentOutcome;
  };

interface WatchedKey {
  readonly key: Key;
  open: boolean;
  /** Consecutive evaluations that found it stalling, while not open. */
  stallingEvaluations: number;
  /** Its state and the event time at which it began, while open and not stalling. */
  calm?: { readonly state: "healthy" | "no_data"; readonly sinceMs: number } | undefined;
  /** Number of the last evaluation that included it. */
  lastEvaluation: number;
}

const NO_EVIDENCE: Evidence = {
  heartbeats: 0,
  playedMs: 0,
  rebufferMs: 0,
  buckets: 0,
  ratio: 0,
  stalledSessions: 0,
  receivedAt: 0,
};

/** One-sided 95 % quantile of the normal distribution. */
const Z_95 = 1.645;

/** Evaluates the rules and keeps the state of each watched title and region. */
export class Rules {
  readonly #watched = new Map<string, WatchedKey>();
  readonly #spans: readonly number[];
  #evaluation = 0;

  constructor(readonly options: RuleOptions) {
    const { windowBuckets } = options;
    this.#spans = [4, 2, 1].map((part) => Math.ceil(windowBuckets / part));
  }

  /** Title and region of each open incident. */
  get openKeys(): Key[] {
    return [...this.#watched.values()].filter(({ open }) => open).map(({ key }) => key);
  }

  /** Restores an open incident of an earlier process. */
  restore(key: Key): void {
    this.#watched.set(mapKeyOf(key), {
      key,
      open: true,
      stallingEvaluations: 0,
      lastEvaluation: this.#evaluation,
    });
  }

  /** Evaluates every cell at the event time `eventMs`; returns the incidents to open or resolve. */
  evaluate(cells: Iterable<Cell>, eventMs: number): Decision[] {
    this.#evaluation += 1;
    const decisions: Decision[] = [];
    for (const cell of cells) {
      // Fast path: nearly all cells are healthy and not watched, so skip the look-up.
      const ratio = rebufferRatio(cell);
      if (this.#watched.size === 0 && !this.#mayBeStalling(ratio)) continue;
      const watched = this.#watched.get(mapKeyOf(cell));
      const decision = watched?.open
        ? this.#evaluateOpen(watched, this.#evidence(cell), eventMs)
        : this.#evaluateNotOpen(watched, cell, ratio);
      if (decision) decisions.push(decision);
    }
    for (const watched of this.#watched.values()) {
      if (watched.lastEvaluation === this.#evaluation) continue;
      const decision = watched.open && this.#evaluateOpen(watched, NO_EVIDENCE, eventMs);
      if (decision) decisions.push(decision);
      if (!watched.open) this.#watched.delete(mapKeyOf(watched.key));
    }
    return decisions;
  }

  // If the newest quarter of the window is above the threshold, the whole window is above a quarter
  // of it, unless the audience shrinks at the same time; then the longer spans find the incident.
  #mayBeStalling(ratio: number): boolean {
    return ratio >= this.options.openRatio / 4;
  }

  #evaluateNotOpen(
    watched: WatchedKey | undefined,
    cell: Cell,
    ratio: number,
  ): Decision | undefined {
    const evidence = this.#mayBeStalling(ratio) ? this.#stalling(cell) : undefined;
    if (!evidence) {
      if (watched) this.#watched.delete(mapKeyOf(cell));
      return undefined;
    }
    const { titleId, region } = cell;
    const key = { titleId, region };
    watched ??= { key, open: false, stallingEvaluations: 0, lastEvaluation: 0 };
    this.#watched.set(mapKeyOf(key), watched);
    watched.lastEvaluation = this.#evaluation;
    watched.stallingEvaluations += 1;
    if (watched.stallingEvaluations < this.options.openAfterEvaluations) return undefined;
    watched.open = true;
    return { change: "opened", key, evidence };
  }

  #evaluateOpen(watched: WatchedKey, evidence: Evidence, eventMs: number): Decision | undefined {
    const { resolveRatio, resolveAfterMs, closeWithoutDataMs } = this.options;
    watched.lastEvaluation = this.#evaluation;
    const state = stateOf(evidence, resolveRatio);
    if (state === "stalling") {
      watched.calm = undefined;
      return undefined;
    }
    // Event time goes back when the window is reset.
    if (watched.calm?.state !== state || watched.calm.sinceMs > eventMs) {
      watched.calm = { state, sinceMs: eventMs };
    }
    const waitMs = state === "healthy" ? resolveAfterMs : closeWithoutDataMs;
    if (eventMs - watched.calm.sinceMs < waitMs) return undefined;
    this.#watched.delete(mapKeyOf(watched.key));
    const outcome = state === "healthy" ? "recovered" : "no_data";
    return { change: "resolved", key: watched.key, evidence, outcome };
  }

  /** The evidence of the shortest span that meets every condition to open, if any does. */
  #stalling(cell: Cell): Evidence | undefined {
    const { openRatio, minHeartbeats, minStalledSessions, heartbeatMs } = this.options;
    for (const buckets of this.#spans) {
      const evidence = this.#evidence(cell, buckets);
      const sample = sampleOf(evidence, heartbeatMs);
      if (sample < minHeartbeats || evidence.stalledSessions < minStalledSessions) continue;
      if (wilsonLowerBound(evidence.ratio, sample) > openRatio) return evidence;
    }
    return undefined;
  }

  #evidence(cell: Cell, buckets = this.options.windowBuckets): Evidence {
    const sums = cell.newest(buckets);
    return {
      ...sums,
      buckets,
      ratio: rebufferRatio(sums),
      stalledSessions: cell.stalledSessions(buckets),
      receivedAt: cell.receivedAt,
    };
  }
}

function stateOf(evidence: Evidence, resolveRatio: number): "no_data" | "healthy" | "stalling" {
  if (evidence.heartbeats === 0) return "no_data";
  return evidence.ratio <= resolveRatio ? "healthy" : "stalling";
}

/** Σ rebuffer_ms / Σ (played_ms + rebuffer_ms), 0 to 1; 0 without viewing time. */
export function rebufferRatio({ playedMs, rebufferMs }: Sums): number {
  const viewingMs = playedMs + rebufferMs;
  return viewingMs === 0 ? 0 : rebufferMs / viewingMs;
}

/**
 * The size of a sample in heartbeats of nominal length, so that a device that sends a heartbeat at
 * every change of state does not count as many viewers.
 */
export function sampleOf({ heartbeats, playedMs, rebufferMs }: Sums, heartbeatMs: number): number {
  return Math.min(heartbeats, (playedMs + rebufferMs) / heartbeatMs);
}

/**
 * Lower bound of the one-sided 95 % confidence interval of a proportion `ratio` (0 to 1) in a
 * sample of `size` (E. B. Wilson, "Probable inference, the law of succession, and statistical
 * inference", 1927). The stalled share of a heartbeat is between 0 and 1, so its variance is at
 * most that of the binomial trial which the formula assumes: the bound is conservative.
 */
export function wilsonLowerBound(ratio: number, size: number): number {
  if (size === 0) return 0;
  const z2 = Z_95 * Z_95;
  const centre = ratio + z2 / (2 * size);
  const spread = Z_95 * Math.sqrt((ratio * (1 - ratio) + z2 / (4 * size)) / size);
  return Math.max(0, (centre - spread) / (1 + z2 / size));
}

function mapKeyOf({ region, titleId }: Key): string {
  // A region has no line break, so the text is unique.
  return `${region}\n${titleId}`;
}
