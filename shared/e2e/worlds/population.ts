/**
 * Who watches what from where: names and shares of regions, titles, CDNs, ISPs, builds and models,
 * and how healthy each is in normal times.
 *
 * @module
 */
import type { Random } from "../../dev/testing/random.ts";
import type { Heartbeat } from "../../contract/event.ts";
import { STALL_RATIO, stepped, UNEQUAL_RATIOS, unevenness } from "./calibration.ts";

/** Size and health of a {@link Population}. */
export interface PopulationOptions {
  readonly titles: number;
  readonly regions: number;
  /** Exponent of Zipf's law for titles. */
  readonly zipf: number;
  /**
   * `puffer`: good and slow paths as Puffer has them. `unequal`: each title × region has a
   * rebuffer ratio of its own, from 0.12 to 5 %.
   */
  readonly health: "puffer" | "unequal";
  /** Regions, by name, whose sessions all stall this share of their time in normal times. */
  readonly chronic?: Readonly<Record<string, number>>;
}

/** What is known about a session besides its title. */
export interface Traits {
  readonly region: string;
  readonly cdn: string;
  readonly isp: string;
  readonly device: Heartbeat["device"];
  /** Rebuffer ratio in normal times. */
  readonly ratio: number;
  /** Whether its player reports a stall only when it has ended. */
  readonly reportsAtEnd: boolean;
}

/** Share of each build, model and CDN; every ISP of a region and every region follows Zipf. */
const BUILD_SHARES = [0.41, 0.25, 0.12, 0.08, 0.06, 0.05, 0.03];
const MODEL_SHARES = [0.3, 0.24, 0.18, 0.14, 0.08, 0.04, 0.02];
const CDN_SHARES = [0.45, 0.35, 0.2];
/** The last one is the small one of scenarios about an ISP: a tenth of its region. */
const ISP_SHARES = [0.4, 0.3, 0.2, 0.1];
const REGION_ZIPF = 0.7;
const SLOW_RATIO = (STALL_RATIO.slow.low + STALL_RATIO.slow.high) / 2;
/** So that the whole is in the middle of Puffer's interval. */
const GOOD_RATIO = 0.0003;
const HIGHEST_RATIO = 0.5;
/** Deviation of the logarithm of the rebuffer ratio between sessions, keys, ISPs. */
const SESSION_SIGMA = 0.8;
const KEY_SIGMA = 0.3;
const ISP_SIGMA = 0.4;
const AT_END_BUILD = "7.4.2";
const BUILDS = ["9.1.0", "9.0.3", "8.8.1", AT_END_BUILD, "9.2.0-beta", "tv-5.0", "6.0.0"];

/** Names and shares; draws titles and traits. */
export class Population {
  readonly regions: readonly string[];
  readonly titles: readonly string[];
  readonly #regionShares: Shares;
  readonly #titleShares: Shares;
  readonly #builds = new Shares(BUILD_SHARES);
  readonly #models = new Shares(MODEL_SHARES);
  readonly #cdns = new Shares(CDN_SHARES);
  readonly #isps = new Shares(ISP_SHARES);
  readonly #devices: readonly (readonly Heartbeat["device"][])[];
  readonly #slowShares: ReadonlyMap<string, number>;
  readonly #ispFactors = new Map<string, number>();
  readonly #keyFactors = new Map<string, number>();

  constructor(readonly options: PopulationOptions, readonly random: Random) {
    const { titles, regions, zipf } = options;
    this.regions = Array.from({ length: regions }, (_, i) => regionName(i));
    this.titles = Array.from({ length: titles }, (_, i) => `title-${i}`);
    this.#regionShares = new Shares(zipfShares(regions, REGION_ZIPF));
    this.#titleShares = new Shares(zipfShares(titles, zipf));
    this.#devices = BUILDS.map((build) =>
      MODEL_SHARES.map((_, model) => ({ model: `model-${model}`, os: "os-1", build }))
    );
    this.#slowShares = new Map(
      this.regions.map((region) => [
        region,
        Math.min(0.6, STALL_RATIO.slowShare * unevenness(random, 0.5)),
      ]),
    );
  }

  title(): string {
    return this.titles[this.#titleShares.draw(this.random)] ?? "title-0";
  }

  region(): string {
    return this.regions[this.#regionShares.draw(this.random)] ?? "r00";
  }

  /** Traits of a session of `title` in `region`. */
  traits(title: string, region: string): Traits {
    const { random } = this;
    const cdn = `cdn-${"abc"[this.#cdns.draw(random)]}`;
    const isp = `isp-${this.#isps.draw(random)}-${region}`;
    const build = this.#builds.draw(random);
    const device = this.#devices[build]?.[this.#models.draw(random)];
    if (device === undefined) throw new RangeError("shares and names differ in number");
    const reportsAtEnd = device.build === AT_END_BUILD;
    return { region, cdn, isp, device, reportsAtEnd, ratio: this.#ratio(title, region, isp) };
  }

  #ratio(title: string, region: string, isp: string): number {
    const { random, options } = this;
    const session = unevenness(random, SESSION_SIGMA);
    const chronic = options.chronic?.[region];
    if (chronic !== undefined) return Math.min(HIGHEST_RATIO, chronic * session);
    const key = this.#factor(
      this.#keyFactors,
      `${region}\n${title}`,
      () =>
        options.health === "puffer"
          ? unevenness(random, KEY_SIGMA)
          : stepped(UNEQUAL_RATIOS, random.next()),
    );
    if (options.health === "unequal") return Math.min(HIGHEST_RATIO, key * session);
    const isSlow = random.chance(this.#slowShares.get(region) ?? 0);
    const network = this.#factor(this.#ispFactors, isp, () => unevenness(random, ISP_SIGMA));
    return Math.min(HIGHEST_RATIO, (isSlow ? SLOW_RATIO : GOOD_RATIO) * session * key * network);
  }

  #factor(known: Map<string, number>, name: string, draw: () => number): number {
    let factor = known.get(name);
    if (factor === undefined) known.set(name, factor = draw());
    return factor;
  }
}

/** The name of a region by its rank; rank 0 has most viewers. */
export function regionName(rank: number): string {
  return `r${String(rank).padStart(2, "0")}`;
}

/** Shares that add up to 1 by Zipf's law. */
function zipfShares(count: number, exponent: number): number[] {
  const weights = Array.from({ length: count }, (_, i) => (i + 1) ** -exponent);
  const sum = weights.reduce((total, each) => total + each, 0);
  return weights.map((each) => each / sum);
}

/** Draws an index in proportion to its share. */
class Shares {
  readonly #upTo: Float64Array;

  constructor(shares: readonly number[]) {
    this.#upTo = new Float64Array(shares.length);
    let sum = 0;
    for (const [i, share] of shares.entries()) this.#upTo[i] = sum += share;
  }

  draw(random: Random): number {
    const at = random.next();
    let [low, high] = [0, this.#upTo.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#upTo[middle] ?? 1) > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
