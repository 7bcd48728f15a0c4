/**
 * Counters, gauges and histograms in the Prometheus text format (version 0.0.4).
 *
 * @module
 */
type Labels = Readonly<Record<string, string>>;

interface Family {
  readonly name: string;
  readonly help: string;
  readonly kind: "counter" | "gauge" | "histogram";
  lines(): string[];
}

/** A value per set of labels. */
class Samples {
  readonly #values = new Map<string, number>();

  add(labels: Labels, by: number): void {
    const key = labelText(labels);
    this.#values.set(key, (this.#values.get(key) ?? 0) + by);
  }
  set(labels: Labels, value: number): void {
    this.#values.set(labelText(labels), value);
  }
  get(labels: Labels): number {
    return this.#values.get(labelText(labels)) ?? 0;
  }
  lines(name: string): string[] {
    return [...this.#values].map(([labels, value]) => `${name}${labels} ${value}`);
  }
}

/** A count that only grows; `name` ends in `_total`. */
export class Counter implements Family {
  readonly kind = "counter";
  readonly #samples = new Samples();
  constructor(readonly name: string, readonly help: string) {}

  add(by = 1, labels: Labels = {}): void {
    this.#samples.add(labels, by);
  }
  value(labels: Labels = {}): number {
    return this.#samples.get(labels);
  }
  lines(): string[] {
    return this.#samples.lines(this.name);
  }
}

/** A value that goes up and down. */
export class Gauge implements Family {
  readonly kind = "gauge";
  readonly #samples = new Samples();
  constructor(readonly name: string, readonly help: string) {}

  set(value: number, labels: Labels = {}): void {
    this.#samples.set(labels, value);
  }
  value(labels: Labels = {}): number {
    return this.#samples.get(labels);
  }
  lines(): string[] {
    return this.#samples.lines(this.name);
  }
}

/** A distribution over fixed upper bounds, in the unit that `name` ends in. */
export class Histogram implements Family {
  readonly kind = "histogram";
  readonly #counts: number[];
  #sum = 0;
  #count = 0;
  constructor(readonly name: string, readonly help: string, readonly bounds: readonly number[]) {
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.#sum += value;
    this.#count += 1;
    const bucket = this.bounds.findIndex((bound) => value <= bound);
    if (bucket >= 0) this.#counts[bucket] += 1;
  }
  lines(): string[] {
    let below = 0;
    const buckets = this.bounds.map((bound, i) =>
      `${this.name}_bucket{le="${bound}"} ${below += this.#counts[i]}`
    );
    return [
      ...buckets,
      `${this.name}_bucket{le="+Inf"} ${this.#count}`,
      `${this.name}_sum ${this.#sum}`,
      `${this.name}_count ${this.#count}`,
    ];
  }
}

/** The metrics of one process. */
export class Metrics {
  readonly #families: Family[] = [];

  counter(name: string, help: string): Counter {
    return this.#register(new Counter(name, help));
  }
  gauge(name: string, help: string): Gauge {
    return this.#register(new Gauge(name, help));
  }
  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    return this.#register(new Histogram(name, help, bounds));
  }

  /** The exposition that `/metrics` answers, as `text/plain; version=0.0.4`. */
  render(): string {
    const lines = this.#families.flatMap((family) => [
      `# HELP ${family.name} ${family.help}`,
      `# TYPE ${family.name} ${family.kind}`,
      ...family.lines(),
    ]);
    return lines.join("\n") + "\n";
  }

  #register<F extends Family>(family: F): F {
    this.#families.push(family);
    return family;
  }
}

function labelText(labels: Labels): string {
  // Sorted, because the same labels in another order are the same sample.
  const pairs = Object.entries(labels).sort(([a], [b]) => a < b ? -1 : 1);
  if (pairs.length === 0) return "";
  const escape = (value: string) =>
    value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  return `{${pairs.map(([name, value]) => `${name}="${escape(value)}"`).join(",")}}`;
}
