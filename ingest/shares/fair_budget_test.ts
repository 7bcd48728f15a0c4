import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { FairBudget } from "./fair_budget.ts";

/** Takes `amount` again and again until it is refused. */
function fill(budget: FairBudget, party: string, amount = 1): number {
  const share = budget.shareOf(party);
  while (share.take(amount) === undefined);
  return share.held;
}

Deno.test("one alone has most of the budget, and leaves room for others", () => {
  const budget = new FairBudget(1_000);
  assertEquals(fill(budget, "a"), 800);
  assertEquals(budget.shareOf("a").take(1), "share_spent");
  assertEquals(budget.shareOf("b").take(200), undefined);
  assertEquals(budget.shareOf("c").take(1), "spent");
});

Deno.test("parties that want everything have the same in the end, whoever was first", () => {
  const budget = new FairBudget(10_000);
  const parties = ["first", "second", "third"];
  fill(budget, "first");
  for (let round = 0; round < 2_000; round++) {
    for (const party of parties) {
      const share = budget.shareOf(party);
      share.release(Math.min(share.held, 40));
      fill(budget, party);
    }
  }
  const held = parties.map((party) => budget.shareOf(party).held);
  assert(Math.min(...held) > 2_500, held.join(", "));
  assert(Math.max(...held) < 3_500, held.join(", "));
});

Deno.test("property: what is held never exceeds the limit, and all of it comes back", () => {
  const random = propertyRandom("fair budget");
  const budget = new FairBudget(1_000);
  const taken: { party: string; amount: number }[] = [];
  for (let step = 0; step < 5_000; step++) {
    const party = `p${random.int(0, 4)}`;
    const amount = random.int(1, 300);
    if (budget.shareOf(party).take(amount) === undefined) taken.push({ party, amount });
    if (random.chance(0.5)) {
      const one = taken.shift();
      if (one) budget.shareOf(one.party).release(one.amount);
    }
    assert(budget.held <= 1_000);
    assertEquals([...budget.shares].reduce((sum, [, { held }]) => sum + held, 0), budget.held);
  }
  for (const { party, amount } of taken) budget.shareOf(party).release(amount);
  assertEquals(budget.held, 0);
});
