/**
 * Cells of alerts for property tests, of every kind.
 *
 * @module
 */
import type { AlertCell } from "../../contract/alert.ts";
import type { Random } from "../testing/random.ts";

type Kind = AlertCell["kind"];

/** The dimensions that each kind of cell fixes. */
const FIXED: Readonly<Record<Kind, readonly Exclude<keyof AlertCell, "kind">[]>> = {
  all: [],
  region: ["region"],
  title: ["title"],
  title_region: ["title", "region"],
  cdn: ["cdn"],
  build: ["build"],
  region_cdn: ["region", "cdn"],
  region_isp: ["region", "isp"],
  region_build: ["region", "build"],
  region_model: ["region", "model"],
};
const KINDS = Object.keys(FIXED).filter((kind): kind is Kind => kind in FIXED);

/** A cell of any kind, whose values are what `text` returns. */
export function anAlertCell(random: Random, text: () => string): AlertCell {
  const kind = random.pick(KINDS);
  return { kind, ...Object.fromEntries(FIXED[kind].map((dimension) => [dimension, text()])) };
}
