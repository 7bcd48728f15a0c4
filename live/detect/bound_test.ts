import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { alphaFor, BoundTable, leastImprobable, logGamma, logTail } from "./bound.ts";

Deno.test("logGamma is ln (x − 1)! and ln √π at a half", () => {
  for (const [x, factorial] of [[1, 1], [2, 1], [5, 24], [11, 3_628_800]] as const) {
    assertNear(logGamma(x), Math.log(factorial), 1e-9);
  }
  assertNear(logGamma(0.5), Math.log(Math.sqrt(Math.PI)), 1e-9);
});

Deno.test("the tail of a large precision is that of the binomial distribution", () => {
  // P(Bin(10, 0.1) ≥ 3) = 1 − 0.9^10 − 10 · 0.1 · 0.9^9 − 45 · 0.01 · 0.9^8
  const binomial = 1 - 0.9 ** 10 - 0.9 ** 9 - 0.45 * 0.9 ** 8;
  assertNear(Math.exp(logTail(3, 10, 0.1, 1e7)), binomial, 1e-5);
});

Deno.test("with α = β = 1 every count is as probable", () => {
  for (const x of [1, 5, 10]) {
    assertNear(Math.exp(logTail(x, 10, 0.5, 2)), (11 - x) / 11, 1e-3);
  }
});

Deno.test("correlation, a larger baseline and more sessions raise the bound", () => {
  const bound = (n: number, p: number, m: number) => leastImprobable(n, p, m, Math.log(1e-10));
  assert(bound(50, 0.004, 300) > bound(50, 0.004, 1_000));
  assert(bound(50, 0.05, 300) > bound(50, 0.004, 300));
  assert(bound(200, 0.004, 300) > bound(50, 0.004, 300));
  assertEquals(bound(2, 0.05, 300), 3, "two of two prove nothing");
});

Deno.test("the table is never below the exact bound, and at most a tenth above", () => {
  const random = propertyRandom("bound table");
  const table = new BoundTable(300, 1e-10);
  for (let i = 0; i < 300; i++) {
    const n = Math.ceil(2 ** (random.next() * 17));
    const p = 0.004 * 2 ** (random.next() * 6);
    const exact = leastImprobable(n, p, 300, Math.log(1e-10));
    const found = table.bound(n, p);
    assert(found >= Math.min(exact, n + 1), `n ${n} p ${p}: ${found} < ${exact}`);
    assert(found <= exact * 1.1 + 1, `n ${n} p ${p}: ${found} > ${exact}`);
  }
});

Deno.test("the page budget is shared by all keys and looks", () => {
  assertNear(alphaFor(1, 100_000) * 100_000 * 8_640, 1, 1e-9);
  assertNear(alphaFor(2, 100_000), 2 * alphaFor(1, 100_000), 1e-20);
});

function assertNear(actual: number, expected: number, tolerance: number): void {
  assert(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected} ± ${tolerance}`);
}
