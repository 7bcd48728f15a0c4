/**
 * When on-call is paged for rebuffering, and when the incident is over.
 *
 * Pure: event time comes in as an argument. Nothing here knows of NATS or of alert payloads.
 *
 * Rebuffer ratio = Σ rebuffer_ms / Σ (played_ms + rebuffer_ms), the rebuffering percentage of Mux.
 * Start-up is not rebuffering: players report it as neither.
 *
 * An incident opens when, in so many evaluations in a row, some span of the newest heartbeats shows
 * - enough of a sample, and
 * - enough viewers stalled: one broken device is no incident, however badly it does, and
 * - a ratio that is above the threshold with 95 % confidence ({@link wilsonLowerBound}).
 * The spans are the window, its newest half and its newest quarter: an incident younger than the
 * window is thinned by the healthy time before it, and would be found the later for it.
 *
 * It resolves when the ratio over the window has been at or below a lower threshold for a while.
 * A window without a heartbeat is `no_data`, which is not health: it resolves nothing, and it
 * starts the wait for health again. Only when there has been no data for minutes, because nobody
 * watches any more, is the incident closed as `no_data`.
 *
 * @module
 */
import type { Cell, Key, Sums } from "../watch/window.ts";

export interface RuleOptions {
  /** Ratio above which an incident opens. */
  readonly openRatio: number;
  /** Ratio at or below which it is over; below `openRatio`. */
  readonly resolveRatio: number;
  /** Least sample to open on, in heartbeats of `heartbeatMs`. */
  readonly minHeartbeats: number;
  /** Least number of stalled sessions to open on. */
  readonly minStalledSessions: number;
  /** Evaluations in a row that must agree before an incident opens. */
  readonly openAfterEvaluations: number;
  /** Event time of health after which an incident resolves. */
  readonly resolveAfterMs: number;
  /** Event time without data after which an incident is closed. */
  readonly closeWithoutDataMs: number;
  /** Nominal time between two heartbeats of a session. */
  readonly heartbeatMs: number;
  /** Buckets of the window. */
  readonly windowBuckets: number;
}

/** How many of the newest buckets a decision looked at, and what it saw. */
export interface Evidence extends Sums {
  readonly buckets: number;
  readonly ratio: number;
  readonly stalledSessions: number;
  /** Receipt of the newest heartbeat of the title and region, ms since the epoch. */
  readonly receivedAt: number;
}

/** Why an incident is over. */
export type IncidentOutcome = "recovered" | "no_data";

export type Decision =
  | { readonly change: "opened"; readonly key: Key; readonly evidence: Evidence }
  | {
    readonly change: "resolved";
    readonly key: Key;
    readonly evidence: Evidence;
    readonly outcome: IncidentOutcome;
  };

interface Watched {
  readonly key: Key;
  open: boolean;
  /** Evaluations in a row that found it stalling, while not open. */
  stallingEvaluations: number;
  /** Event time since when it is healthy or without data, while open. */
  since?: { readonly state: "healthy" | "no_data"; readonly eventMs: number } | undefined;
  /** Number of the last evaluation that had a cell for it. */
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

/** The rules and the incidents under them. */
export class Rules {
  readonly #watched = new Map<string, Watched>();
  readonly #spans: readonly number[];
  #evaluation = 0;

  constructor(readonly options: RuleOptions) {
    const { windowBuckets } = options;
    this.#spans = [4, 2, 1].map((part) => Math.ceil(windowBuckets / part));
  }

  /** Open incidents. */
  get open(): Key[] {
    return [...this.#watched.values()].filter(({ open }) => open).map(({ key }) => key);
  }

  /** Takes over an incident that an earlier process opened. */
  restore(key: Key): void {
    this.#watched.set(nameOf(key), {
      key,
      open: true,
      stallingEvaluations: 0,
      lastEvaluation: this.#evaluation,
    });
  }

  /** Judges every cell at the event time `eventMs`; returns what changed. */
  evaluate(cells: Iterable<Cell>, eventMs: number): Decision[] {
    this.#evaluation += 1;
    const decisions: Decision[] = [];
    for (const cell of cells) {
      // Nearly all are well and nobody watches them: spare them the look-up.
      const ratio = rebufferRatio(cell);
      if (this.#watched.size === 0 && !this.#mayBeStalling(ratio)) continue;
      const watched = this.#watched.get(nameOf(cell));
      const decision = watched?.open
        ? this.#judgeOpen(watched, this.#evidence(cell), eventMs)
        : this.#judgeQuiet(watched, cell, ratio);
      if (decision) decisions.push(decision);
    }
    for (const watched of this.#watched.values()) {
      if (watched.lastEvaluation === this.#evaluation) continue;
      const decision = watched.open && this.#judgeOpen(watched, NO_EVIDENCE, eventMs);
      if (decision) decisions.push(decision);
      if (!watched.open) this.#watched.delete(nameOf(watched.key));
    }
    return decisions;
  }

  // A quarter of the window that is above the threshold leaves the whole above a quarter of it,
  // unless the audience shrinks at the same time; then the longer spans find it.
  #mayBeStalling(ratio: number): boolean {
    return ratio >= this.options.openRatio / 4;
  }

  #judgeQuiet(watched: Watched | undefined, cell: Cell, ratio: number): Decision | undefined {
    const evidence = this.#mayBeStalling(ratio) ? this.#stalling(cell) : undefined;
    if (!evidence) {
      if (watched) this.#watched.delete(nameOf(cell));
      return undefined;
    }
    const { titleId, region } = cell;
    const key = { titleId, region };
    watched ??= { key, open: false, stallingEvaluations: 0, lastEvaluation: 0 };
    this.#watched.set(nameOf(key), watched);
    watched.lastEvaluation = this.#evaluation;
    watched.stallingEvaluations += 1;
    if (watched.stallingEvaluations < this.options.openAfterEvaluations) return undefined;
    watched.open = true;
    return { change: "opened", key, evidence };
  }

  #judgeOpen(watched: Watched, evidence: Evidence, eventMs: number): Decision | undefined {
    const { resolveRatio, resolveAfterMs, closeWithoutDataMs } = this.options;
    watched.lastEvaluation = this.#evaluation;
    const state = evidence.heartbeats === 0
      ? "no_data"
      : evidence.ratio <= resolveRatio
      ? "healthy"
      : "stalling";
    if (state === "stalling") {
      watched.since = undefined;
      return undefined;
    }
    // Event time goes back when the window starts again.
    if (watched.since?.state !== state || watched.since.eventMs > eventMs) {
      watched.since = { state, eventMs };
    }
    const waitMs = state === "healthy" ? resolveAfterMs : closeWithoutDataMs;
    if (eventMs - watched.since.eventMs < waitMs) return undefined;
    this.#watched.delete(nameOf(watched.key));
    const outcome = state === "healthy" ? "recovered" : "no_data";
    return { change: "resolved", key: watched.key, evidence, outcome };
  }

  /** The shortest span of the newest buckets that is surely stalling, if any is. */
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

/** Σ rebuffer_ms / Σ (played_ms + rebuffer_ms), 0 to 1; 0 when nobody watched. */
export function rebufferRatio({ playedMs, rebufferMs }: Sums): number {
  const watchingMs = playedMs + rebufferMs;
  return watchingMs === 0 ? 0 : rebufferMs / watchingMs;
}

/**
 * The size of a sample in heartbeats of nominal length: a device that sends one at every change of
 * state says no more about the others by it.
 */
export function sampleOf({ heartbeats, playedMs, rebufferMs }: Sums, heartbeatMs: number): number {
  return Math.min(heartbeats, (playedMs + rebufferMs) / heartbeatMs);
}

/**
 * Lower end of the one-sided 95 % confidence interval of a share `ratio` found in a sample of
 * `size` (E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
 * 1927). The stalled share of one heartbeat lies between 0 and 1, so it varies no more than the coin
 * that the formula assumes: the bound is on the safe side.
 */
export function wilsonLowerBound(ratio: number, size: number): number {
  if (size === 0) return 0;
  const z2 = Z_95 * Z_95;
  const centre = ratio + z2 / (2 * size);
  const spread = Z_95 * Math.sqrt((ratio * (1 - ratio) + z2 / (4 * size)) / size);
  return Math.max(0, (centre - spread) / (1 + z2 / size));
}

function nameOf({ region, titleId }: Key): string {
  // A region has no line break, so no two keys share a name.
  return `${region}\n${titleId}`;
}
