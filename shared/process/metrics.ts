/**
 * What a process shows to Prometheus, and the metrics that every process has.
 *
 * A thin layer over `prom-client`. What changes at every event stays a plain number where it
 * changes; {@link Metrics.counterOf} and {@link Metrics.gaugeOf} read it when they are asked for.
 *
 * @module
 */
import process from "node:process";
import { Counter, Gauge, Histogram, Registry } from "prom-client";

export type { Counter, Gauge, Histogram };

/** A value per set of labels, as a reader of {@link Metrics.counterOf} returns it. */
export type MetricSample<L extends string> = readonly [
  labels: Readonly<Record<L, string>>,
  value: number,
];

/** What a reader returns: one value when there are no labels, else a sample for each set of them. */
export type MetricReading<L extends string> = [L] extends [never] ? number
  : Iterable<MetricSample<L>>;

/** Which process it is. */
export interface ProcessIdentity {
  readonly service: string;
  readonly version: string;
}

/** How often the event loop is asked whether it is late, ms. */
const LAG_EVERY_MS = 100;
const LAG_BOUNDS_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** The metrics of one process, or of one test. */
export class Metrics {
  readonly #registry = new Registry();
  /** What `/metrics` says it sends. */
  readonly contentType: string = this.#registry.contentType;

  /** A count of what this process did. Its labels are named here, and TypeScript checks them. */
  counter<L extends string = never>(
    name: `${string}_total`,
    help: string,
    labelNames: readonly L[] = [],
  ): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  /** A level that is set when it changes. */
  gauge<L extends string = never>(
    name: string,
    help: string,
    labelNames: readonly L[] = [],
  ): Gauge<L> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }

  /** A distribution over `buckets`, upper bounds in the unit that `name` ends in. */
  histogram<L extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly L[] = [],
  ): Histogram<L> {
    const registers = [this.#registry];
    return new Histogram({ name, help, labelNames, buckets: [...buckets], registers });
  }

  /** A count that somebody else keeps, read at every scrape; it must never go down. */
  counterOf<L extends string = never>(
    name: `${string}_total`,
    help: string,
    read: () => MetricReading<L>,
    labelNames: readonly L[] = [],
  ): void {
    new Counter<L>({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [labels, value] of samplesOf<L>(read())) this.inc(labels, finite(name, value));
      },
    });
  }

  /** A level that somebody else knows, read at every scrape. A sample that is gone disappears. */
  gaugeOf<L extends string = never>(
    name: string,
    help: string,
    read: () => MetricReading<L>,
    labelNames: readonly L[] = [],
  ): void {
    new Gauge<L>({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [labels, value] of samplesOf<L>(read())) this.set(labels, finite(name, value));
      },
    });
  }

  /** The exposition, in the Prometheus text format; rejects when a reader throws. */
  async render(): Promise<string> {
    return await this.#registry.metrics();
  }
}

/**
 * Adds what every process has. Returns what stops watching the event loop.
 *
 * `collectDefaultMetrics` of the library would say that memory and descriptors are 0, because
 * they are in `/proc`, which a service may not read; and that the event loop is never late.
 */
export function addProcessMetrics(
  metrics: Metrics,
  { service, version }: ProcessIdentity,
): Disposable {
  metrics.gaugeOf(
    "twofold_build_info",
    "1, with what runs as labels",
    () => [[{ version, deno: Deno.version.deno, service }, 1]],
    ["version", "deno", "service"],
  );
  metrics.counterOf("process_cpu_seconds_total", "CPU time of all threads, user and system", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  metrics.gaugeOf(
    "process_resident_memory_bytes",
    "Resident memory",
    () => Deno.memoryUsage().rss,
  );
  metrics.gaugeOf(
    "process_start_time_seconds",
    "Start of the process, seconds since the epoch",
    () => STARTED_AT,
  );
  metrics.gaugeOf(
    "twofold_heap_bytes",
    "Heap of the main thread, used and reserved",
    () => {
      const { heapUsed, heapTotal } = Deno.memoryUsage();
      return [[{ state: "used" }, heapUsed], [{ state: "total" }, heapTotal]];
    },
    ["state"],
  );
  return watchEventLoop(metrics);
}

// The origin is when this thread's clock started, milliseconds after the process.
const STARTED_AT = performance.timeOrigin / 1_000;

function watchEventLoop(metrics: Metrics): Disposable {
  const lag = metrics.histogram(
    "twofold_event_loop_lag_seconds",
    `How late a timer was that is due every ${LAG_EVERY_MS} ms`,
    LAG_BOUNDS_SECONDS,
  );
  let due = performance.now() + LAG_EVERY_MS;
  const timer = setInterval(() => {
    const now = performance.now();
    lag.observe(Math.max(0, now - due) / 1_000);
    due = now + LAG_EVERY_MS;
  }, LAG_EVERY_MS);
  Deno.unrefTimer(timer);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function samplesOf<L extends string>(reading: MetricReading<L>): Iterable<MetricSample<L>> {
  return typeof reading === "number"
    ? [[{} as Record<L, string>, reading]]
    : reading as Iterable<MetricSample<L>>;
}

// The library lets NaN into a counter, where it stays.
function finite(name: string, value: number): number {
  if (Number.isFinite(value)) return value;
  throw new TypeError(`${name} is ${value}`);
}
