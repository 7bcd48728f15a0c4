/**
 * What the process that leads tells of the input of live: that it is behind, or that nothing comes.
 *
 * @module
 */
import type { Incidents } from "./incidents/incidents.ts";
import type { Decider } from "./incidents/decider.ts";
import type { Outbox } from "./incidents/outbox.ts";
import { LagWatch } from "./sharing/lag_watch.ts";
import type { Timeline } from "./sharing/timeline.ts";
import { SilenceDetector } from "./watch/silence.ts";

/** Without a batch of a stream for so long it is not known whether heartbeats arrive. */
const MAX_UNHEARD_MS = 10_000;
/** Batches come more often than this; only what is beyond counts as lag. */
const USUAL_UNHEARD_MS = 1_000;

/** What a {@link InputWatch} needs. */
export interface InputWatchOptions {
  readonly timeline: Timeline;
  readonly decider: Decider;
  readonly outbox: Outbox;
  /** Time without any heartbeat after which on-call is told, ms. */
  readonly silenceMs: number;
}

/** Watches how far the streams were heard. */
export class InputWatch {
  readonly #heardMs = new Map<string, number>();
  #silence: SilenceDetector;
  #lag = new LagWatch();
  #eventsSeen = 0;

  constructor(readonly options: InputWatchOptions) {
    this.#silence = new SilenceDetector(options.silenceMs);
  }

  /** Notes that a batch of `stream` came. */
  heard(stream: string): void {
    this.#heardMs.set(stream, performance.now());
  }

  /**
   * From now on this process tells, and goes on with what others have told. Where `isExpected`,
   * heartbeats have come before, so that their absence is silence.
   */
  lead(incidents: Incidents, isExpected: boolean): void {
    const { silenceMs } = this.options;
    this.#silence = new SilenceDetector(silenceMs, incidents.isSilent);
    // Silence that an earlier process reported continues until a heartbeat arrives.
    if (isExpected && !incidents.isSilent) this.#silence.heartbeatSeen(performance.now());
    this.#lag = new LagWatch(incidents.isLagging);
  }

  /** Tells what has changed; call it every second. */
  tick(): void {
    const { timeline, decider, outbox } = this.options;
    const { events, skipped, lanes, newestMs } = timeline;
    if (events + skipped > this.#eventsSeen) this.#silence.heartbeatSeen(performance.now());
    this.#eventsSeen = events + skipped;
    const { incidents } = decider;
    if (incidents === undefined || newestMs === undefined) return;
    const nowMs = Math.round(newestMs);
    this.#tellLag(incidents, nowMs);
    // While a stream is not heard, it is unknown whether heartbeats arrive.
    if (!lanes.every(({ stream }) => this.#unheardMs(stream) < MAX_UNHEARD_MS)) return;
    const change = this.#silence.check(performance.now());
    if (change) outbox.add(incidents.noData(change, nowMs));
  }

  #tellLag(incidents: Incidents, nowMs: number): void {
    const { timeline, outbox } = this.options;
    const { skipped, lanes } = timeline;
    const [worst] = lanes.map(({ stream, lagMs }) => {
      const missingMs = this.#unheardMs(stream);
      const unheardMs = missingMs === Infinity ? 0 : missingMs - USUAL_UNHEARD_MS;
      return { stream, lagMs: Math.max(lagMs, unheardMs) };
    }).sort((a, b) => b.lagMs - a.lagMs);
    if (worst === undefined) return;
    const now = { ...worst, skipped, coverage: timeline.coverage(nowMs) };
    const lag = this.#lag.check(now, performance.now());
    if (lag === undefined) return;
    const { change, summary, value } = lag;
    outbox.add(incidents.lag(change, nowMs, { summary, value }));
  }

  #unheardMs(stream: string): number {
    return performance.now() - (this.#heardMs.get(stream) ?? -Infinity);
  }
}
