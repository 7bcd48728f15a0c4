/**
 * Prometheus metrics of a process, and the metrics that every process has.
 *
 * A thin layer over `prom-client`. A value that changes with every event is a plain number in its
 * own module; {@link Metrics.counterOf} and {@link Metrics.gaugeOf} read it at every scrape.
 *
 * @module
 */
import process from "node:process";
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** The metrics of `prom-client`, so that only this module imports it. */
export type { Counter, Gauge, Histogram };

/** One sample: a set of labels and its value. */
export type MetricSample<L extends string> = readonly [
  labels: Readonly<Record<L, string>>,
  value: number,
];

/** The result of a reader: one value without labels, else a sample per set of labels. */
export type MetricReading<L extends string> = [L] extends [never] ? number
  : Iterable<MetricSample<L>>;

/** The identity of a process, as labels of `twofold_build_info`. */
export interface ProcessIdentity {
  readonly service: string;
  readonly version: string;
}

/** Interval of the timer that measures the lag of the event loop, in ms. */
const LAG_INTERVAL_MS = 100;
const LAG_BOUNDS_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** A registry of metrics. */
export class Metrics {
  readonly #registry = new Registry();
  /** Content type of {@link render}. */
  readonly contentType: string = this.#registry.contentType;

  /** Registers a counter of what this process did; TypeScript checks the labels. */
  counter<L extends string = never>(
    name: `${string}_total`,
    help: string,
    labelNames: readonly L[] = [],
  ): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  /** Registers a gauge that the caller sets. */
  gauge<L extends string = never>(
    name: string,
    help: string,
    labelNames: readonly L[] = [],
  ): Gauge<L> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }

  /** Registers a histogram; `buckets` are upper bounds in the unit that `name` ends in. */
  histogram<L extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly L[] = [],
  ): Histogram<L> {
    const registers = [this.#registry];
    return new Histogram({ name, help, labelNames, buckets: [...buckets], registers });
  }

  /** Registers a counter that is read at every scrape; its value must never decrease. */
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
        record<L>(name, read(), {
          bare: (value) => this.inc(counted(name, value)),
          labelled: (labels, value) => this.inc(labels, counted(name, value)),
        });
      },
    });
  }

  /** Registers a gauge that is read at every scrape; a sample no longer returned disappears. */
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
        record<L>(name, read(), {
          bare: (value) => this.set(value),
          labelled: (labels, value) => this.set(labels, value),
        });
      },
    });
  }

  /** All metrics in the Prometheus text format; rejects when a reader throws. */
  async render(): Promise<string> {
    return await this.#registry.metrics();
  }
}

/**
 * Registers the metrics that every process has; disposing the result stops the measurement of the
 * event loop.
 *
 * `collectDefaultMetrics` of the library is not used: it would report memory and file descriptors
 * as 0, because it reads `/proc`, which a service has no permission for, and no event loop lag.
 */
export function addProcessMetrics(
  metrics: Metrics,
  { service, version }: ProcessIdentity,
): Disposable {
  metrics.gaugeOf(
    "twofold_build_info",
    "Always 1; the labels are the version of Twofold, the version of Deno and the service",
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
    () => START_SECONDS,
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

// The time origin of this thread, milliseconds after the start of the process.
const START_SECONDS = performance.timeOrigin / 1_000;

function watchEventLoop(metrics: Metrics): Disposable {
  const lag = metrics.histogram(
    "twofold_event_loop_lag_seconds",
    `Delay of a timer with an interval of ${LAG_INTERVAL_MS} ms`,
    LAG_BOUNDS_SECONDS,
  );
  let dueMs = performance.now() + LAG_INTERVAL_MS;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    lag.observe(Math.max(0, nowMs - dueMs) / 1_000);
    dueMs = nowMs + LAG_INTERVAL_MS;
  }, LAG_INTERVAL_MS);
  Deno.unrefTimer(timer);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** How a metric of the library takes one value, with or without labels. */
interface Sink<L extends string> {
  readonly bare: (value: number) => void;
  readonly labelled: (labels: Readonly<Record<L, string>>, value: number) => void;
}

function record<L extends string>(
  name: string,
  reading: number | Iterable<MetricSample<L>>,
  { bare, labelled }: Sink<L>,
): void {
  if (typeof reading === "number") return bare(finite(name, reading));
  for (const [labels, value] of reading) labelled(labels, finite(name, value));
}

// The library's error does not say which counter it is.
function counted(name: string, value: number): number {
  if (value >= 0) return value;
  throw new TypeError(`${name} is ${value}`);
}

// The library accepts NaN in a counter, which then stays NaN.
function finite(name: string, value: number): number {
  if (Number.isFinite(value)) return value;
  throw new TypeError(`${name} is ${value}`);
}
