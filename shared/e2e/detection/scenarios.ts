/**
 * The labelled scenarios: what happens, and what a detector should say about it.
 *
 * @module
 */
import type { CellName } from "../../../live/watch/cells.ts";
import type { Effect, Scope, WorldFault } from "../worlds/fault.ts";
import type { PopulationOptions } from "../worlds/population.ts";
import type { LabelledTruth, Trial } from "./trial.ts";
import type { AudienceGroup, WorldOptions } from "../worlds/world.ts";

/** A kind of world; every seed makes another one. */
export interface DetectionScenario {
  readonly name: string;
  readonly about: string;
  /** `steps`: one title at a time. `incidents`: something is wrong. `quiet`: nothing is. */
  readonly part: "steps" | "incidents" | "quiet";
  /** Worlds of a default run. */
  readonly worlds: number;
  readonly trial: (seed: number) => Trial;
}

/** A minute in ms. */
export const MINUTE_MS = 60_000;
const WARM_MS = 12 * MINUTE_MS;

/** A small catalogue: most scenarios need an audience around what is broken, not a large one. */
export const SMALL: PopulationOptions = { titles: 200, regions: 20, zipf: 0.9, health: "puffer" };
/** The catalogue of the issue: 5,000 titles in 20 regions. */
export const LARGE: PopulationOptions = { ...SMALL, titles: 5_000 };

/** A world in which `faults` are the truths, from the end of the warm-up on. */
export function trialOf(
  world: Omit<WorldOptions, "groups"> & { readonly groups?: readonly AudienceGroup[] },
  { warmMs = WARM_MS, afterMs = 5 * MINUTE_MS, truths }: {
    readonly warmMs?: number;
    readonly afterMs?: number;
    readonly truths?: readonly LabelledTruth[];
  } = {},
): Trial {
  const all = truths ?? world.faults.map(({ fromMs, untilMs, scope }) => ({
    fromMs,
    untilMs,
    scope,
  }));
  const lastMs = all.reduce((max, { untilMs }) => Math.max(max, untilMs), warmMs);
  return {
    world: { groups: [{ viewers: 4_000 }], ...world },
    truths: all,
    warmMs,
    untilMs: lastMs + afterMs,
  };
}

/** A fault from the end of the warm-up on. */
export function faultOf(
  scope: Scope,
  effect: Effect,
  more: Partial<WorldFault> & { readonly lastsMs?: number; readonly afterMs?: number } = {},
): WorldFault {
  const { lastsMs = 5 * MINUTE_MS, afterMs = 0, ...rest } = more;
  const fromMs = rest.fromMs ?? WARM_MS + afterMs;
  return { fromMs, untilMs: fromMs + lastsMs, scope, share: 1, effect, ...rest };
}

/** Everyone in scope stalls this share of the time. */
export function stalls(ratio: number): Effect {
  return ratio >= 1 ? { what: "freeze" } : { what: "stall", ratio };
}

const STEP_VIEWERS = [10, 20, 50, 200, 5_000];
const STEP_RATIOS = [0.08, 0.15, 0.4, 1];
/** Titles of one world that are broken one after the other, each in a region of its own. */
const TITLES_A_WORLD = 10;

/** A step on titles that have `viewers`, in one region each: nothing else is wrong. */
export function stepScenario(
  viewers: number,
  ratio: number,
  more?: Partial<AudienceGroup>,
): DetectionScenario {
  const isLarge = viewers > 1_000;
  const count = isLarge ? 2 : TITLES_A_WORLD;
  const lastsMs = ratio < 0.3 ? 5 * MINUTE_MS : 2 * MINUTE_MS;
  const everyMs = lastsMs + 3 * MINUTE_MS;
  return {
    name: `step-${Math.round(ratio * 100)}-of-${viewers}`,
    about: `a title of ${viewers} viewers stalls ${Math.round(ratio * 100)} % of the time`,
    part: "steps",
    worlds: 1,
    trial: (seed) => {
      const titles = Array.from({ length: count }, (_, i) => ({
        title: `tested-${i}`,
        region: `r${String(19 - i).padStart(2, "0")}`,
      }));
      const groups = titles.map((each) => ({ ...each, viewers, ...more }));
      const faults = titles.map(({ title }, i) =>
        faultOf({ title }, stalls(ratio), { lastsMs, afterMs: i * everyMs })
      );
      const truths = faults.map(({ fromMs, untilMs }, i) => {
        const scope: Scope = titles[i] ?? {};
        // The title is watched in one region only: title, and title in region, are the same people.
        const names = ({ title }: CellName) => title === scope.title;
        return { fromMs, untilMs, scope, names };
      });
      const world = { seed, population: SMALL, groups: [{ viewers: 1_500 }, ...groups], faults };
      return trialOf(world, { truths, afterMs: 3 * MINUTE_MS });
    },
  };
}

/** The grid of steps. */
export const STEP_SCENARIOS: readonly DetectionScenario[] = STEP_VIEWERS.flatMap((viewers) =>
  STEP_RATIOS.map((ratio) => stepScenario(viewers, ratio))
);
