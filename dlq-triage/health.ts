/**
 * Whether the service can do its work, part by part; `/readyz` asks.
 *
 * @module
 */

/** What keeps the service from its work. Not ready until a part has reported. */
export class Health {
  readonly #troubles = new Map<string, string>([["start", "starting"]]);

  report(part: string, trouble: string | undefined): void {
    this.#troubles.delete("start");
    if (trouble === undefined) this.#troubles.delete(part);
    else this.#troubles.set(part, trouble);
  }
  trouble(): string | undefined {
    return this.#troubles.size === 0 ? undefined : [...this.#troubles.values()].join("; ");
  }
}
