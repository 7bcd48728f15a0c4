/**
 * The generators of a load, which share its rate, its connections and its viewers.
 *
 * @module
 */
import type { Workspace } from "../../dev/servers/workspace.ts";
import { ChildProcess } from "../../dev/testing/child_process.ts";
import { waitFor } from "../../dev/testing/wait_for.ts";
import { Stop } from "../../process/errors.ts";
import type { GeneratorOptions, GeneratorResult } from "./generator.ts";

const READY_MS = 120_000;
/** From the word to the start, ms, so that all have heard it. */
const START_AFTER_MS = 200;

/** Processes that send one load together. */
export class Generators implements AsyncDisposable {
  private constructor(
    readonly workspace: Workspace,
    readonly processes: readonly ChildProcess[],
  ) {}

  /** Starts `count` of them, each with its part of `whole`, and waits until all are ready. */
  static async start(
    workspace: Workspace,
    whole: GeneratorOptions,
    count: number,
  ): Promise<Generators> {
    const program = new URL("./generator.ts", import.meta.url).pathname;
    const processes = Array.from({ length: count }, (_, i) => {
      const part: GeneratorOptions = {
        ...whole,
        rate: whole.rate / count,
        connections: Math.ceil(whole.connections / count),
        seed: whole.seed + i,
      };
      const args = ["run", "--quiet", "-A", program, JSON.stringify(part)];
      return new ChildProcess(Deno.execPath(), args, { hasInput: true });
    });
    const generators = new Generators(workspace, processes);
    try {
      await Promise.all(processes.map((each) => workspace.watch(each)));
      await generators.#ready();
      return generators;
    } catch (error) {
      await generators[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts the load; returns when it begins, ms since the epoch. */
  async begin(): Promise<number> {
    const startAtMs = Date.now() + START_AFTER_MS;
    await Promise.all(this.processes.map((each) => each.write(`${startAtMs}\n`)));
    return startAtMs;
  }

  /** Process ids by name. */
  pids(): Record<string, number> {
    const isOne = this.processes.length === 1;
    return Object.fromEntries(
      this.processes.map(({ pid }, i) => [isOne ? "generator" : `generator ${i + 1}`, pid]),
    );
  }

  /** What each of them did; throws a {@link Stop} if one failed. */
  async results(): Promise<GeneratorResult[]> {
    const ended = await Promise.all(this.processes.map((each) => each.ended));
    await Promise.all(this.processes.map((each) => this.workspace.unwatch(each)));
    this.#throwIfFailed();
    return ended.map(({ out }) => JSON.parse(out.slice(out.indexOf("\n"))));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.processes.map(async (each) => {
      await each[Symbol.asyncDispose]();
      await this.workspace.unwatch(each);
    }));
  }

  async #ready(): Promise<void> {
    await waitFor("the generators", () => {
      const ended = this.processes.find(({ exitCode }) => exitCode !== null);
      return ended !== undefined || this.processes.every(({ out }) => out.startsWith("ready"));
    }, { timeoutMs: READY_MS });
    this.#throwIfFailed();
  }

  #throwIfFailed(): void {
    const failed = this.processes.find(({ exitCode }) => exitCode !== null && exitCode !== 0);
    if (failed) throw new Stop(`a load generator failed: ${failed.err}`);
  }
}
