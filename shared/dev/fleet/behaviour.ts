/**
 * What one simulated viewer does: plays, pauses, seeks, watches advertisements, stalls.
 *
 * Stalls are like those of real viewers: `SLOW_SHARE` of the sessions are on a slow path and have
 * most of the stalls, and half of the stalls of a session come soon after another. The fleet stalls
 * for about 0.17 % of the time, which is within the 0.09 to 0.29 % of the Puffer study (F. Y. Yan et
 * al., "Learning in situ", NSDI 2020). Slow paths in that study have 15.5 % of the watch time and
 * stall for 0.5 to 1.3 % of it.
 *
 * Pure and seeded. All times are ms since the session began.
 *
 * @module
 */
import type { PlayerState, Segment } from "./player.ts";
import type { Random } from "../testing/random.ts";

const SLOW_SHARE = 0.155;
const SLOW_RATIO = 0.008;
const FAST_RATIO = 0.000_5;
const STALL_MS = { min: 500, max: 4_000 } as const;
const MEAN_STALL_MS = (STALL_MS.min + STALL_MS.max) / 2;
/** Share of stalls that are followed by another soon, and the mean time until then, ms. */
const BURST_SHARE = 0.5;
const BURST_GAP_MS = 15_000;
/** Minimum and maximum time of a stall and the playback after it in trouble, ms. */
const CYCLE_MS = [6_000, 14_000] as const;

/** A period in which a viewer stalls for the share `stallRatio` of the time. */
export interface Trouble {
  readonly fromMs: number;
  /** Infinity: to the end. */
  readonly untilMs: number;
  readonly stallRatio: number;
}

/** The circumstances of a viewer. */
export interface Circumstances {
  /** Whether the session began before the run. */
  readonly hasBegun: boolean;
  /** When the viewer leaves at the latest. */
  readonly leavesMs: number;
  /** In order of time, without overlap. */
  readonly troubles: readonly Trouble[];
}

/** The behaviour of one viewer, segment by segment. */
export class Behaviour {
  #state: PlayerState | undefined;
  /** When the next stall outside of trouble begins. */
  #stallsMs: number;
  readonly #ratio: number;

  constructor(private readonly random: Random, private readonly circumstances: Circumstances) {
    this.#ratio = random.chance(SLOW_SHARE) ? SLOW_RATIO : FAST_RATIO;
    // The run may begin inside a burst or between two, so the first stall comes at the mean rate.
    this.#stallsMs = exponentialMs(random, MEAN_STALL_MS / this.#ratio);
  }

  /** The segment that begins at `atMs`; undefined ends the session. */
  next(atMs: number): Segment | undefined {
    const { leavesMs, troubles } = this.circumstances;
    if (atMs >= leavesMs) return undefined;
    const ratio = troubles.find(({ fromMs, untilMs }) => atMs >= fromMs && atMs < untilMs)
      ?.stallRatio;
    const before = this.#state;
    const state = before === undefined ? this.#first() : this.#follow(before, atMs, ratio);
    if (state === undefined) return undefined;
    this.#state = state;
    const wantedMs = ratio === undefined || before === undefined
      ? this.#healthyMs(state, before, atMs)
      : this.#troubledMs(state, ratio);
    const turns = [leavesMs, ...troubles.flatMap(({ fromMs, untilMs }) => [fromMs, untilMs])];
    const ms = Math.min(
      wantedMs,
      ...turns.filter((turn) => turn > atMs).map((turn) => turn - atMs),
    );
    return { state, ms, playedMs: state === "playing" ? ms : 0 };
  }

  #first(): PlayerState {
    return this.circumstances.hasBegun ? "playing" : "starting";
  }

  #follow(before: PlayerState, atMs: number, ratio: number | undefined): PlayerState | undefined {
    if (before !== "playing") return "playing";
    if (ratio !== undefined || atMs >= this.#stallsMs) return "rebuffering";
    const choice = this.random.next();
    if (choice < 0.2) return undefined;
    if (choice < 0.5) return "paused";
    return choice < 0.8 ? "seeking" : "ad";
  }

  #healthyMs(state: PlayerState, before: PlayerState | undefined, atMs: number): number {
    const { random } = this;
    switch (state) {
      case "playing": {
        // A session that began before the run is in the middle of its segment.
        const ms = random.int(before === undefined ? 1_000 : 20_000, 160_000);
        return Math.min(ms, Math.max(1, this.#stallsMs - atMs));
      }
      case "starting":
        return random.int(300, 2_500);
      case "paused":
        return random.int(5_000, 60_000);
      case "ad":
        return random.pick([15_000, 20_000, 30_000]);
      case "rebuffering":
        return this.#stallMs(atMs);
      default:
        return random.int(200, 1_500);
    }
  }

  /** Draws the length of a stall that begins at `atMs`, and when the next one begins. */
  #stallMs(atMs: number): number {
    const { random } = this;
    const ms = random.int(STALL_MS.min, STALL_MS.max);
    const isBurst = random.chance(BURST_SHARE);
    // The time between bursts makes up for the short time within them.
    const calmMs = (MEAN_STALL_MS / this.#ratio - BURST_SHARE * BURST_GAP_MS) / (1 - BURST_SHARE);
    this.#stallsMs = atMs + ms + exponentialMs(random, isBurst ? BURST_GAP_MS : calmMs);
    return ms;
  }

  #troubledMs(state: PlayerState, ratio: number): number {
    const cycleMs = this.random.int(...CYCLE_MS);
    return Math.round(cycleMs * (state === "rebuffering" ? ratio : 1 - ratio));
  }
}

/** Draws from the exponential distribution, at least 1 ms. */
function exponentialMs(random: Random, meanMs: number): number {
  return Math.ceil(-Math.log(1 - random.next()) * meanMs) + 1;
}
