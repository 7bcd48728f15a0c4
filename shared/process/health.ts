/**
 * The readiness of a service, as `/readyz` reports it: the state of each part.
 *
 * A part reports its last outcome. For a part that works in rounds, a clock also limits the time
 * since the last round: a round that hangs reports nothing, and must not look healthy.
 *
 * @module
 */

/** Default maximum time between two finished rounds before the service is not ready, in ms. */
export const MAX_ROUND_MS = 10_000;

/** A part of a service that is needed for readiness. */
export interface HealthPart {
  /** Reports that the part works. */
  works(): void;
  /** Reports that the part does not work; `/readyz` returns `reason`. */
  fails(reason: string): void;
}

/** A part that works in rounds, each of which must finish within a time limit. */
export interface RoundPart extends HealthPart {
  /**
   * Reports that a round has finished, whatever its outcome. {@link works} and {@link fails} count
   * as finished rounds too.
   */
  finished(): void;
}

/** Collects the reasons why a service is not ready. */
export class Health {
  readonly #reasons = new Map<string, string>();
  readonly #checks: (() => string | undefined)[] = [];
  #phase: "starting" | "running" | "stopping" = "running";

  /** @param nowMs A monotonic clock, in ms. */
  constructor(readonly nowMs: () => number = () => performance.now()) {}

  /** Adds a part, which fails with `reason` until its first report. */
  part(name: string, reason = `${name} is starting`): HealthPart {
    this.#reasons.set(name, reason);
    return {
      works: () => void this.#reasons.delete(name),
      fails: (because) => void this.#reasons.set(name, because),
    };
  }

  /** Adds a part that also fails when it finishes no round for `maxRoundMs`. */
  rounds(name: string, maxRoundMs = MAX_ROUND_MS): RoundPart {
    const part = this.part(name);
    let finishedMs = this.nowMs();
    const finished = () => void (finishedMs = this.nowMs());
    this.check(() => {
      const silentMs = this.nowMs() - finishedMs;
      if (silentMs < maxRoundMs) return undefined;
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

  /** Adds a check that runs at every query: it returns a reason not to be ready, or undefined. */
  check(reason: () => string | undefined): void {
    this.#checks.push(reason);
  }

  /** Makes the service not ready until {@link started}: parts may still be added. */
  starts(): void {
    this.#phase = "starting";
  }

  /** All parts are added. */
  started(): void {
    if (this.#phase === "starting") this.#phase = "running";
  }

  /** Makes the service not ready for good, because it is stopping. */
  stops(): void {
    this.#phase = "stopping";
  }

  /** All reasons why the service is not ready, each once, or undefined when it is. */
  get notReady(): string | undefined {
    if (this.#phase === "stopping") return "stopping";
    const checked = this.#checks.map((check) => check()).filter((reason) => reason !== undefined);
    const reasons = new Set([...this.#reasons.values(), ...checked]);
    if (reasons.size > 0) return [...reasons].join("; ");
    return this.#phase === "starting" ? "starting" : undefined;
  }
}
