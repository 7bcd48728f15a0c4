/**
 * Starts processes again that end, each after a wait that grows while it keeps ending.
 *
 * @module
 */
import { messageOf } from "../../process/errors.ts";
import { pause } from "../../process/retry.ts";

/** A process that is started again. */
export interface Part {
  readonly name: string;
  /** Resolves with the exit code of the current process. */
  readonly ended: () => Promise<number>;
  /** Starts it; rejects when it does not come up, and then no process is left. */
  readonly start: () => Promise<void>;
  /** Ends the current process, also one that is starting. */
  readonly stop: () => Promise<unknown>;
}

/** How long to wait before a start. */
export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
  /** After so long without an end the next wait is the first again. */
  readonly steadyMs: number;
}

/** What a part is doing. */
export interface PartState {
  readonly name: string;
  readonly state: "running" | "waiting" | "starting";
  readonly restarts: number;
}

const BACKOFF: Backoff = { firstMs: 500, maxMs: 30_000, steadyMs: 60_000 };

/** Watches parts from its construction to {@link Supervisor.stop}. */
export class Supervisor {
  readonly #abort = new AbortController();
  readonly #states = new Map<string, PartState>();
  readonly #watching: Promise<void>;

  /** `say` receives one line for each end, failed start and start. */
  constructor(
    readonly parts: readonly Part[],
    readonly say: (line: string) => void,
    readonly backoff = BACKOFF,
  ) {
    for (const { name } of parts) this.#states.set(name, { name, state: "running", restarts: 0 });
    this.#watching = Promise.all(parts.map((part) => this.#watch(part))).then(() => {});
  }

  /** What each part is doing, in the order given. */
  get states(): readonly PartState[] {
    return [...this.#states.values()];
  }

  /** Starts nothing any more; what runs is left running, what is starting is ended. */
  async stop(): Promise<void> {
    this.#abort.abort();
    const starting = this.parts.filter(({ name }) => this.#of(name).state === "starting");
    await Promise.all(starting.map((part) => part.stop()));
    await this.#watching;
  }

  async #watch(part: Part): Promise<void> {
    const { firstMs, maxMs, steadyMs } = this.backoff;
    const { signal } = this.#abort;
    const stopped = new Promise<void>((resolve) =>
      signal.addEventListener("abort", () => resolve())
    );
    let waitMs = firstMs;
    let startedAtMs = performance.now();
    let why: string | undefined;
    for (;;) {
      if (why === undefined) {
        const code = await Promise.race([part.ended(), stopped]);
        if (signal.aborted) return;
        why = `ended with status ${code}`;
        if (performance.now() - startedAtMs >= steadyMs) waitMs = firstMs;
      }
      this.#becomes(part, "waiting");
      this.say(`${part.name} ${why}; starting it again in ${waitMs / 1000} s`);
      await pause(waitMs, signal);
      waitMs = Math.min(2 * waitMs, maxMs);
      if (signal.aborted) return;
      startedAtMs = performance.now();
      why = await this.#start(part);
    }
  }

  // Returns why it did not start.
  async #start(part: Part): Promise<string | undefined> {
    this.#becomes(part, "starting");
    try {
      await part.start();
    } catch (error) {
      return `did not start (${messageOf(error).replace(/\s*\n\s*/g, "; ")})`;
    }
    const { name, restarts } = this.#of(part.name);
    this.#states.set(name, { name, state: "running", restarts: restarts + 1 });
    if (!this.#abort.signal.aborted) this.say(`${name} is started again`);
  }

  #of(name: string): PartState {
    const state = this.#states.get(name);
    if (state === undefined) throw new RangeError(`there is no part ${name}`);
    return state;
  }

  #becomes({ name }: Part, state: PartState["state"]): void {
    this.#states.set(name, { ...this.#of(name), state });
  }
}
