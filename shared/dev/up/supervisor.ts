/**
 * Starts processes again that end, each after a wait that grows while it keeps ending, and ends those
 * that live without working.
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
  readonly stop: (signal?: Deno.Signal) => Promise<unknown>;
  /** Why it does not work, for a sentence; undefined while it does. Never rejects, and takes seconds. */
  readonly ailment: () => Promise<string | undefined>;
}

/** How long to wait before a start. */
export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
  /** After so long without an end the next wait is the first again. */
  readonly steadyMs: number;
}

/** How long a process may live without working. */
export interface Forbearance {
  /** Between two looks at it. */
  readonly everyMs: number;
  /** So many looks in a row find it ill before it is ended. */
  readonly looks: number;
  /** The same before it has been well once: it may be starting. */
  readonly looksAtStart: number;
}

/** What a part is doing. */
export interface PartState {
  readonly name: string;
  readonly state: "running" | "waiting" | "starting";
  readonly restarts: number;
}

const BACKOFF: Backoff = { firstMs: 500, maxMs: 30_000, steadyMs: 60_000 };
const FORBEARANCE: Forbearance = { everyMs: 2_000, looks: 5, looksAtStart: 30 };

/** Watches parts from its construction to {@link Supervisor.stop}. */
export class Supervisor {
  readonly #abort = new AbortController();
  readonly #states = new Map<string, PartState>();
  readonly #watching: Promise<void>;

  /** `say` receives one line for each end, failed start, start and process that does not work. */
  constructor(
    readonly parts: readonly Part[],
    readonly say: (line: string) => void,
    readonly backoff = BACKOFF,
    readonly forbearance = FORBEARANCE,
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
    const { looks, looksAtStart } = this.forbearance;
    let startedAtMs = performance.now();
    // What is given has started.
    let mayBeIll = looks;
    let why: string | undefined;
    for (;;) {
      if (why === undefined) {
        const ended = part.ended();
        const looking = this.#lookAfter(part, ended, mayBeIll);
        mayBeIll = looksAtStart;
        const code = await Promise.race([ended, stopped]);
        await looking;
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

  // Ends the current process when it does not work. Resolves once it has ended, or is not to be looked
  // after any more.
  async #lookAfter(part: Part, ended: Promise<number>, mayBeIll: number): Promise<void> {
    const { everyMs, looks } = this.forbearance;
    const over = new AbortController();
    void ended.then(() => over.abort());
    const signal = AbortSignal.any([over.signal, this.#abort.signal]);
    for (let ill = 0;;) {
      await pause(everyMs, signal);
      const why = signal.aborted ? undefined : await part.ailment();
      if (signal.aborted) return;
      if (why === undefined) {
        ill = 0;
        mayBeIll = looks;
        continue;
      }
      ill += 1;
      if (ill >= mayBeIll) {
        this.say(`${part.name} runs, but ${why}; ending it`);
        await part.stop("SIGKILL");
        return;
      }
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
