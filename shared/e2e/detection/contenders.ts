/**
 * What the bench compares: live's detector and the fixed threshold.
 *
 * @module
 */
import { Detector } from "../../../live/detect/detector.ts";
import { FixedThreshold } from "./fixed_threshold.ts";
import { FIXED, LIVE } from "./report.ts";
import type { BenchedDetector } from "./trial.ts";

/** A new detector of each kind, by name. */
export function contenders(names: readonly string[] = [LIVE, FIXED]) {
  const all: readonly [string, () => BenchedDetector][] = [
    [LIVE, () => new Detector()],
    [FIXED, () => new FixedThreshold()],
  ];
  return new Map(
    all.filter(([name]) => names.includes(name)).map(([name, make]) => [name, make()]),
  );
}
