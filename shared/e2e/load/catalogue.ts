/**
 * What the viewers of a load watch, and where: a large catalogue, and the titles of a premiere.
 *
 * @module
 */
import { zipfRank } from "../../dev/fleet/audience.ts";
import type { LoadCell } from "../../dev/fleet/device_client_load.ts";
import type { Random } from "../../dev/testing/random.ts";

/** Size of a catalogue. */
export interface CatalogueSize {
  readonly titles: number;
  readonly regions: number;
}

const PREMIERE_TITLES = 3;
/** Of those who come for a premiere. */
const PREMIERE_SHARE = 0.8;

/** The region with the most viewers. */
export const LARGEST_REGION = "r0";

/** Draws what viewers watch: titles and regions by Zipf's law with exponent 1. */
export class LoadCatalogue {
  readonly #title: () => number;
  readonly #region: () => number;

  constructor(readonly random: Random, { titles, regions }: CatalogueSize) {
    this.#title = zipfRank(random, titles);
    this.#region = zipfRank(random, regions);
  }

  /** What a viewer of any day watches. */
  everyday(): LoadCell {
    return { titleId: `title-${this.#title()}`, region: `r${this.#region()}` };
  }

  /** What a viewer watches who came when a premiere began. */
  premiere(): LoadCell {
    if (!this.random.chance(PREMIERE_SHARE)) return this.everyday();
    const titleId = `premiere-${this.random.int(0, PREMIERE_TITLES - 1)}`;
    return { titleId, region: `r${this.#region()}` };
  }
}
