/**
 * Seeded randomness for simulations and property tests.
 *
 * @module
 */
import { randomInt } from "node:crypto";

/** A reproducible source of randomness: the same seed gives the same numbers. */
export class Random {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed >>> 0;
  }

  /** A number in [0, 1). Mulberry32, T. Ettinger, public domain. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }
  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.next() < p;
  }
  /** One of `items`. Throws a `RangeError` when it is empty. */
  pick<T>(items: readonly T[]): T {
    const at = Math.floor(this.next() * items.length);
    // A loop, because an item may itself be undefined.
    for (const item of items.slice(at, at + 1)) return item;
    throw new RangeError("there are no items");
  }
  /** `items` in a random order. */
  shuffle<T>(items: readonly T[]): T[] {
    const out = [...items];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      // Swaps the two.
      out.splice(j, 1, ...out.splice(i, 1, ...out.slice(j, j + 1)));
    }
    return out;
  }
  /** A UUIDv7 (RFC 9562) of the instant `ms`. */
  uuidv7(ms: number): string {
    const time = Math.floor(ms).toString(16).padStart(12, "0");
    const hex = (digits: number) =>
      Math.floor(this.next() * 16 ** digits).toString(16).padStart(digits, "0");
    const variant = (8 + this.int(0, 3)).toString(16);
    return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(3)}-${variant}${hex(3)}-${hex(6)}${hex(6)}`;
  }
}

/**
 * The generator of a property test. It prints its seed; `TWOFOLD_SEED` sets it, to repeat a
 * failure.
 */
export function propertyRandom(test: string): Random {
  const given = Deno.env.get("TWOFOLD_SEED");
  const seed = given ? Number(given) : randomInt(2 ** 32);
  console.log(`${test}: TWOFOLD_SEED=${seed}`);
  return new Random(seed);
}
