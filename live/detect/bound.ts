/**
 * When a count of impaired sessions is improbable.
 *
 * Sessions that share a cell fail together more often than independent ones: the share of impaired
 * sessions itself varies around its baseline p. The count x of n is modelled as beta-binomial with
 * mean p and precision M (α = pM, β = (1 − p)M), the larger M the less the share varies:
 *
 *     P(X = k) = C(n, k) · B(k + α, n − k + β) / B(α, β)
 *
 * (J. G. Skellam, "A probability distribution derived from the binomial distribution by regarding
 * the probability of success as variable between the sets of trials", J. R. Stat. Soc. B 10, 1948.)
 * As M → ∞ it is the binomial distribution.
 *
 * @module
 */

/**
 * Looks at a cell a day: one in 10 s. A session is heard every 10 s, so the looks within that time,
 * and the three spans of each, are mostly about the same stalls. A count crosses a level at most as
 * often as sessions begin to be impaired, and in a healthy cell of up to 500 sessions (0.4 % of
 * them, for about 20 s each) fewer than one in 10 s does.
 */
const LOOKS_PER_DAY = 8_640;

/**
 * The probability of a false page at one look at one key, so that all looks at all keys together
 * make at most `falsePagesPerDay` a day: the union bound, which holds however looks and keys
 * depend on each other.
 */
export function alphaFor(falsePagesPerDay: number, keys: number): number {
  return falsePagesPerDay / (keys * LOOKS_PER_DAY);
}

/**
 * The natural logarithm of P(X ≥ x) of n sessions; see the module for the distribution.
 *
 * The terms from x on are summed relative to the first. Their ratio falls for α ≥ 1, so the terms
 * left out are at most those of a geometric series.
 */
export function logTail(x: number, n: number, p: number, m: number): number {
  if (x <= 0) return 0;
  if (x > n) return -Infinity;
  const alpha = p * m;
  const beta = (1 - p) * m;
  let sum = 1;
  let term = 1;
  let k = x;
  for (; k < n; k++) {
    const ratio = (n - k) / (k + 1) * (k + alpha) / (n - k - 1 + beta);
    term *= ratio;
    sum += term;
    if (ratio < 1 && term < sum * 1e-4) {
      sum += term * ratio / (1 - ratio);
      break;
    }
    // Below the mean the terms rise and the tail is no evidence.
    if (sum > 1e6) return 0;
  }
  return Math.min(0, logTerm(x, n, alpha, beta) + Math.log(sum));
}

function logTerm(k: number, n: number, alpha: number, beta: number): number {
  return logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1) +
    logGamma(k + alpha) + logGamma(n - k + beta) - logGamma(n + alpha + beta) +
    logGamma(alpha + beta) - logGamma(alpha) - logGamma(beta);
}

/**
 * ln Γ(x) for x > 0: Stirling's series (Abramowitz and Stegun 6.1.41) from 10 on, reached by the
 * recurrence Γ(x + 1) = x Γ(x). The error is below 1e-10.
 */
export function logGamma(x: number): number {
  let shift = 0;
  while (x < 10) {
    shift += Math.log(x);
    x += 1;
  }
  const inverse = 1 / x;
  const square = inverse * inverse;
  const series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)));
  return (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + series - shift;
}

/** The least x with P(X ≥ x) ≤ e^`logAlpha`; n + 1 if there is none. */
export function leastImprobable(n: number, p: number, m: number, logAlpha: number): number {
  let low = Math.ceil(n * p);
  let high = n + 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (logTail(middle, n, p, m) <= logAlpha) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Steps of a doubling of n and p in the table; values between are rounded up to the next. */
const STEPS = 16;
const EXACT_N = 256;
const MAX_LOG2_N = 22;
const N_STEPS = EXACT_N + (MAX_LOG2_N - 8) * STEPS + 1;
const MIN_P = 1 / 1024;
const P_STEPS = 10 * STEPS + 1;

/**
 * A table of {@link leastImprobable} over n and p, filled as it is used. n and p are rounded up to
 * the next sixteenth of a doubling (n is exact to 256), so a bound is never too low.
 */
export class BoundTable {
  readonly #table = new Int32Array(N_STEPS * P_STEPS).fill(-1);
  readonly #logAlpha: number;

  /** @param m Precision of the beta distribution. */
  constructor(readonly m: number, alpha: number) {
    this.#logAlpha = Math.log(alpha);
  }

  /** Impaired sessions, of `n` with baseline `p`, that are improbable. */
  bound(n: number, p: number): number {
    const column = Math.ceil(STEPS * Math.log2(Math.min(1, Math.max(p, MIN_P)) / MIN_P) - 1e-9);
    return this.#at(n <= EXACT_N ? n : this.#rowAbove(n), column);
  }

  #rowAbove(n: number): number {
    const steps = Math.ceil(STEPS * (Math.log2(n) - 8) - 1e-9);
    return EXACT_N + Math.min(N_STEPS - EXACT_N - 1, steps);
  }

  #at(row: number, column: number): number {
    const at = row * P_STEPS + column;
    const known = this.#table[at] ?? -1;
    if (known >= 0) return known;
    const n = row <= EXACT_N ? row : Math.floor(2 ** (8 + (row - EXACT_N) / STEPS));
    const p = Math.min(0.999, MIN_P * 2 ** (column / STEPS));
    const bound = leastImprobable(n, p, this.m, this.#logAlpha);
    this.#table[at] = bound;
    return bound;
  }
}
