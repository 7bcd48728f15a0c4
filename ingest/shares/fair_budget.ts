/**
 * A budget that several parties share: none can spend so much that nothing is left for the others.
 *
 * A party may hold at most {@link MAX_OF_FREE} times what is free (a dynamic threshold: Choudhury and
 * Hahne, 1998). Alone it has up to four fifths of the budget; of two that want everything, each has
 * four ninths; what is left lets others in at once. Pure.
 *
 * @module
 */

const MAX_OF_FREE = 4;

/** What a party may not take more of: everything is spent, or its share is. */
export type BudgetRefusal = "spent" | "share_spent";

/** The part of a {@link FairBudget} that one party holds. */
export class BudgetShare {
  #held = 0;

  /** Use {@link FairBudget.shareOf}. */
  constructor(readonly budget: FairBudget) {}

  /** What is taken and not released. */
  get held(): number {
    return this.#held;
  }

  /** Takes `amount` and returns undefined, or takes nothing and says why. */
  take(amount: number): BudgetRefusal | undefined {
    const { budget } = this;
    const free = budget.limit - budget.held;
    if (amount > free) return "spent";
    if (this.#held + amount > MAX_OF_FREE * free) return "share_spent";
    this.#held += amount;
    budget.held += amount;
  }

  /** Gives `amount` back. */
  release(amount: number): void {
    this.#held -= amount;
    this.budget.held -= amount;
  }
}

/** See the module. */
export class FairBudget {
  readonly #shares = new Map<string, BudgetShare>();
  /** What all shares hold. */
  held = 0;

  constructor(readonly limit: number) {}

  /** The share of `party`. Parties are never forgotten: there are as many as fleets with a key. */
  shareOf(party: string): BudgetShare {
    let share = this.#shares.get(party);
    if (share === undefined) this.#shares.set(party, share = new BudgetShare(this));
    return share;
  }

  /** What each party holds. */
  get shares(): Iterable<[party: string, share: BudgetShare]> {
    return this.#shares;
  }
}
