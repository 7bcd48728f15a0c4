/**
 * What can go wrong in a world, when, and whom it hits.
 *
 * @module
 */
import type { CellName } from "../../../live/watch/cells.ts";
import type { Traits } from "./population.ts";

/** The dimensions that a fault fixes; all sessions that match them are in it. */
export type Scope = Omit<CellName, "kind">;

/** What happens to the sessions that a fault hits. */
export type Effect =
  /** They stall this share of their time, in stalls of about 20 s. */
  | { readonly what: "stall"; readonly ratio: number }
  /** They stall until it is over. */
  | { readonly what: "freeze" }
  /** New sessions never show a frame. */
  | { readonly what: "no_start" }
  /** They leave within this time, most of them saying so: a programme is over. */
  | { readonly what: "leave"; readonly withinMs: number }
  /** They stall, nothing is heard of them, and a minute after it they send all their heartbeats. */
  | { readonly what: "offline" }
  /** Nothing is heard of them. */
  | { readonly what: "vanish" };

/** One fault. Times are ms since the start of the world. */
export interface WorldFault {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly scope: Scope;
  /** Share of the sessions in scope that are hit, 0 to 1. */
  readonly share: number;
  readonly effect: Effect;
  /** Time in which a stall ratio grows from 0 to its full size. */
  readonly rampMs?: number;
  /** Time at its end in which those that it hit recover one by one; default 0: all at once. */
  readonly fallMs?: number;
  /** Mean time after which a viewer whose picture stands still leaves; default: none leaves. */
  readonly patienceMs?: number;
}

/** Whether a session with `title` and `traits` is in `scope`. */
export function isInScope(scope: Scope, title: string, traits: Traits): boolean {
  return (scope.title === undefined || scope.title === title) &&
    (scope.region === undefined || scope.region === traits.region) &&
    (scope.cdn === undefined || scope.cdn === traits.cdn) &&
    (scope.isp === undefined || scope.isp === traits.isp) &&
    (scope.build === undefined || scope.build === traits.device.build) &&
    (scope.model === undefined || scope.model === traits.device.model);
}

/** The stall ratio of a fault `sinceMs` after it began. */
export function ratioOf(fault: WorldFault, sinceMs: number): number {
  const { effect, rampMs = 0 } = fault;
  if (effect.what === "freeze" || effect.what === "offline") return 1;
  if (effect.what !== "stall") return 0;
  return rampMs > 0 ? effect.ratio * Math.min(1, sinceMs / rampMs) : effect.ratio;
}

/** Whether those that `fault` hits stall. */
export function isStalling({ effect: { what } }: WorldFault): boolean {
  return what === "stall" || what === "freeze" || what === "offline";
}
