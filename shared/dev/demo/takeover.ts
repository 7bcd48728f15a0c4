/**
 * Kills the live process that leads, and notes how long it takes until another one leads.
 *
 * @module
 */
import type { Pipeline } from "../servers/pipeline.ts";
import type { ServiceProcess } from "../servers/service_process.ts";
import { waitFor } from "../testing/wait_for.ts";
import { check, type CheckLine } from "./check_line.ts";

/** Maximum time from the kill until another process leads, ms. */
const LIMIT_MS = 15_000;

/** One kill of the leader, and who took over. */
export class Takeover {
  #killed: ServiceProcess | undefined;
  #tookMs: number | undefined;

  /** Kills the process that leads; resolves once another one does. */
  async kill({ lives }: Pipeline): Promise<void> {
    const killed = await leaderOf(lives);
    this.#killed = killed;
    const startMs = performance.now();
    await killed.stop("SIGKILL");
    await leaderOf(lives.filter((live) => live !== killed));
    this.#tookMs = performance.now() - startMs;
  }

  /** Starts the killed process again. */
  async restart(): Promise<void> {
    await this.#killed?.restart();
  }

  /** The line of the verdict. */
  checks(): CheckLine[] {
    const tookMs = this.#tookMs;
    const found = tookMs === undefined ? "nobody" : `after ${(tookMs / 1_000).toFixed(1)} s`;
    return [
      check(
        "another live process leads after SIGKILL",
        `within ${LIMIT_MS / 1_000} s`,
        found,
        tookMs !== undefined && tookMs <= LIMIT_MS,
      ),
    ];
  }
}

async function leaderOf(lives: readonly ServiceProcess[]): Promise<ServiceProcess> {
  return await waitFor("a live process to lead", async () => {
    for (const live of lives) {
      if ((await live.metrics()).get("twofold_live_leader") === 1) return live;
    }
    throw new Error("none leads");
  }, { timeoutMs: 60_000 });
}
