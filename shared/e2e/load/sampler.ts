/**
 * Looks at a pipeline under load once a second.
 *
 * @module
 */
import type { Sql } from "postgres";
import type { Observer } from "../../dev/demo/observer.ts";
import type { Pipeline } from "../../dev/servers/pipeline.ts";
import { cpuSecondsOfTree, ownBytesOfTree } from "../../dev/testing/measure.ts";
import { DATABASE } from "../../dev/servers/stack.ts";
import { heartbeatStreams } from "../../contract/topology.ts";
import { pause } from "../../process/retry.ts";
import { type Grown, secondsBehind } from "./series.ts";

/** The pipeline at one moment of a load. */
export interface LoadSample {
  /** Since the start of the load. */
  readonly atSeconds: number;
  /** Heartbeats that the edge had accepted since its start. */
  readonly accepted: number;
  /** Heartbeats that royalty had counted since its start. */
  readonly counted: number;
  /** Messages and seconds that readers are behind. */
  readonly liveLag: number;
  readonly liveBehindSeconds: number;
  readonly royaltyLag: number;
  readonly royaltyBehindSeconds: number;
  /** What HEARTBEATS holds on disk. */
  readonly streamBytes: number;
  /** Write-ahead log of Postgres since its start. */
  readonly walBytes: number;
  /** Share of one core since the sample before, and memory of its own, by process. */
  readonly cores: ReadonlyMap<string, number>;
  readonly memoryBytes: ReadonlyMap<string, number>;
}

const EVERY_MS = 1_000;
/** Of a share of CPU time. */
const SHORTEST_SECONDS = 0.5;

interface WalRow {
  readonly bytes: string;
}

/** Samples from its start to {@link Sampler.end}. */
export class Sampler implements AsyncDisposable {
  readonly samples: LoadSample[] = [];
  readonly #end = new AbortController();
  readonly #sql: Sql;
  readonly #history: Grown[] = [];
  readonly #cpu = new Map<string, number>();
  #cpuAtMs = 0;
  #running: Promise<void> | undefined;

  /** `pids` are the processes whose CPU and memory are read, by name. */
  constructor(
    readonly pipeline: Pipeline,
    readonly observer: Observer,
    readonly pids: Readonly<Record<string, number>>,
  ) {
    this.#sql = pipeline.postgres.connect(DATABASE);
  }

  /** Begins; times count from `startAtMs`, ms since the epoch. */
  begin(startAtMs: number): void {
    this.#cores();
    this.#running = this.#run(startAtMs);
    // The end awaits it and throws then.
    this.#running.catch(() => {});
  }

  /** Takes the last sample and ends. */
  async end(): Promise<void> {
    this.#end.abort();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#running?.catch(() => {});
    await this.#sql.end({ timeout: 1 });
  }

  async #run(startAtMs: number): Promise<void> {
    const { signal } = this.#end;
    for (let i = 0; !signal.aborted; i++) {
      // No sleep: it is how often the pipeline is looked at.
      await pause(startAtMs + i * EVERY_MS - Date.now(), signal);
      await this.#sample(startAtMs);
    }
  }

  async #sample(startAtMs: number): Promise<void> {
    const [{ accepted, counted, messages, lag }, streamBytes, [wal]] = await Promise.all([
      this.observer.snapshot(),
      this.#streamBytes(),
      this.#sql<WalRow[]>`select pg_current_wal_lsn() - '0/0'::pg_lsn as bytes`,
    ]);
    const atSeconds = (Date.now() - startAtMs) / 1_000;
    this.#history.push({ atSeconds, total: messages });
    this.samples.push({
      atSeconds,
      accepted,
      counted,
      liveLag: lag.live,
      liveBehindSeconds: secondsBehind(this.#history, lag.live),
      royaltyLag: lag.royalty,
      royaltyBehindSeconds: secondsBehind(this.#history, lag.royalty),
      streamBytes,
      walBytes: Number(wal?.bytes ?? NaN),
      cores: this.#cores(),
      memoryBytes: new Map(
        Object.entries(this.pids).map(([name, pid]) => [name, ownBytesOfTree(pid)]),
      ),
    });
  }

  async #streamBytes(): Promise<number> {
    const streams = heartbeatStreams(Number(this.pipeline.settings.TWOFOLD_PARTITIONS ?? 1));
    const infos = await Promise.all(streams.map((name) => this.observer.jsm.streams.info(name)));
    return infos.reduce((sum, { state }) => sum + state.bytes, 0);
  }

  // A child that ends takes its CPU time with it, so a difference may be below zero.
  #cores(): ReadonlyMap<string, number> {
    const nowMs = performance.now();
    const seconds = (nowMs - this.#cpuAtMs) / 1_000;
    // The kernel counts in ticks of 10 ms, so a share of a short time would be a guess.
    const last = this.samples.at(-1);
    if (last && seconds < SHORTEST_SECONDS) return last.cores;
    const shares = Object.entries(this.pids).map(([name, pid]) => {
      const total = cpuSecondsOfTree(pid);
      const share = Math.max(0, total - (this.#cpu.get(name) ?? total)) / seconds;
      this.#cpu.set(name, total);
      return [name, share] as const;
    });
    this.#cpuAtMs = nowMs;
    return new Map(shares);
  }
}
