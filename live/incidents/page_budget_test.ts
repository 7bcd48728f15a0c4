import { assertEquals } from "@std/assert";
import { MinuteBudget } from "./page_budget.ts";

Deno.test("a minute has so many, and some can be kept back", () => {
  const budget = new MinuteBudget(3);
  assertEquals([1, 1, 1].map((reserve) => budget.take(0, reserve)), [true, true, false]);
  assertEquals([budget.take(1_000), budget.take(1_000)], [true, false]);
  assertEquals([budget.take(59_999), budget.take(60_000), budget.take(60_000)], [
    ...[false, true, true],
  ]);
});

Deno.test("what an earlier process took counts", () => {
  const budget = new MinuteBudget(2);
  budget.restore(1_000);
  assertEquals([budget.take(2_000), budget.take(2_000), budget.take(61_000)], [true, false, true]);
});
