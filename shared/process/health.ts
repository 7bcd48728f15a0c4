/**
 * Whether a service can do its work, part by part; `/readyz` answers what this says.
 *
 * A part reports what it last achieved. Where a part works in rounds, a clock watches the rounds as
 * well: a round that hangs reports nothing, and that must not look like health.
 *
 * @module
 */

/** Longest that a loop may go without finishing a round before the service is not ready, in ms. */
export const ROUND_LIMIT_MS = 10_000;

/** One thing that a service needs in order to do its work. */
export interface HealthPart {
  /** It works. */
  works(): void;
  /** It does not; `reason` is what `/readyz` answers. */
  fails(reason: string): void;
}

/** A part that works in rounds, none of which may take long. */
export interface RoundPart extends HealthPart {
  /** A round has finished, whatever came of it. {@link works} and {@link fails} count as rounds. */
  finished(): void;
}

/** What keeps a service from its work. */
export class Health {
  readonly #reasons = new Map<string, string>();
  readonly #checks: (() => string | undefined)[] = [];
  #isStopping = false;

  /** @param now A clock that never goes back, in ms. */
  constructor(readonly now: () => number = () => performance.now()) {}

  /** Adds a part, which fails with `reason` until it reports. */
  part(name: string, reason = `${name} is starting`): HealthPart {
    this.#reasons.set(name, reason);
    return {
      works: () => void this.#reasons.delete(name),
      fails: (because) => void this.#reasons.set(name, because),
    };
  }

  /** Adds a part that also fails when it finishes no round for `limitMs`. */
  rounds(name: string, limitMs = ROUND_LIMIT_MS): RoundPart {
    const part = this.part(name);
    let finishedMs = this.now();
    const finished = () => void (finishedMs = this.now());
    this.check(() => {
      const silentMs = this.now() - finishedMs;
      if (silentMs < limitMs) return undefined;
      return `${name}: no round finished for ${Math.round(silentMs / 1_000)} s`;
    });
    return {
      finished,
      works: () => {
        finished();
        part.works();
      },
      fails: (because) => {
        finished();
        part.fails(because);
      },
    };
  }

  /** Adds a check that is made whenever somebody asks: a reason not to be ready, or undefined. */
  check(reason: () => string | undefined): void {
    this.#checks.push(reason);
  }

  /** From now on the service is not ready, because it stops. */
  stops(): void {
    this.#isStopping = true;
  }

  /** Why the service cannot do its work, or undefined when it can. */
  get notReady(): string | undefined {
    if (this.#isStopping) return "stopping";
    const checked = this.#checks.map((check) => check()).filter((reason) => reason !== undefined);
    const reasons = [...this.#reasons.values(), ...checked];
    return reasons.length === 0 ? undefined : reasons.join("; ");
  }
}
