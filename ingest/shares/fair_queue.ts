/**
 * A queue that serves several parties in turn, each in the order of its arrival. Pure.
 *
 * @module
 */

/** See the module. Parties without items take no memory. */
export class FairQueue<T> {
  /** The parties that have items, the next one to be served first. */
  readonly #items = new Map<string, T[]>();

  /** Adds `item` after the others of `party`. */
  push(party: string, item: T): void {
    const items = this.#items.get(party);
    if (items) items.push(item);
    else this.#items.set(party, [item]);
  }

  /** The item to be served next, or undefined when there is none. */
  get first(): T | undefined {
    const [items] = this.#items.values();
    return items?.[0];
  }

  /** The next party is served from now on; the first item of this one is removed if it `isDone`. */
  next(isDone: boolean): void {
    for (const [party, items] of this.#items) {
      if (isDone) items.shift();
      // With one party nothing changes.
      if (items.length > 0 && this.#items.size === 1) return;
      this.#items.delete(party);
      if (items.length > 0) this.#items.set(party, items);
      return;
    }
  }
}
