import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { addProcessMetrics, Metrics } from "./metrics.ts";
import { waitFor } from "../dev/testing/wait_for.ts";

async function samples(metrics: Metrics): Promise<string[]> {
  const lines = (await metrics.render()).split("\n");
  return lines.filter((line) => line !== "" && !line.startsWith("#"));
}

Deno.test("metrics are rendered in the Prometheus text format, family by family", async () => {
  const metrics = new Metrics();
  const events = metrics.counter("events_total", "Events", ["outcome"]);
  const lag = metrics.gauge("lag_events", "Events not yet read");
  const seconds = metrics.histogram("wait_seconds", "Waiting", [0.1, 1]);
  events.inc({ outcome: "accepted" }, 2);
  events.inc({ outcome: "accepted" }, 3);
  events.inc({ outcome: "refused" }, 0);
  lag.set(7);
  for (const value of [0.05, 0.1, 0.5, 2]) seconds.observe(value);
  assertEquals(
    await metrics.render(),
    `# HELP events_total Events
# TYPE events_total counter
events_total{outcome="accepted"} 5
events_total{outcome="refused"} 0

# HELP lag_events Events not yet read
# TYPE lag_events gauge
lag_events 7

# HELP wait_seconds Waiting
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.1"} 2
wait_seconds_bucket{le="1"} 3
wait_seconds_bucket{le="+Inf"} 4
wait_seconds_sum 2.65
wait_seconds_count 4
`,
  );
  assertEquals(metrics.contentType, "text/plain; version=0.0.4; charset=utf-8");
});

Deno.test("label values are escaped, and the order of labels does not matter", async () => {
  const metrics = new Metrics();
  const events = metrics.counter("events_total", "Events", ["a", "b"]);
  events.inc({ a: 'quote " slash \\ line\n', b: "2" });
  events.inc({ b: "2", a: 'quote " slash \\ line\n' });
  assertEquals(await samples(metrics), ['events_total{a="quote \\" slash \\\\ line\\n",b="2"} 2']);
});

Deno.test("counterOf and gaugeOf are read at every scrape, and missing samples disappear", async () => {
  const metrics = new Metrics();
  const streams = new Map([["A", 1], ["B", 2]]);
  let events = 5;
  metrics.counterOf("events_total", "Events", () => events);
  metrics.gaugeOf(
    "lag",
    "Lag",
    () => [...streams].map(([stream, lag]) => [{ stream }, lag] as const),
    ["stream"],
  );
  assertEquals(await samples(metrics), [
    "events_total 5",
    'lag{stream="A"} 1',
    'lag{stream="B"} 2',
  ]);
  events = 7;
  streams.delete("A");
  assertEquals(await samples(metrics), ["events_total 7", 'lag{stream="B"} 2']);
});

function away(): never {
  throw new Error("away");
}

Deno.test("a reader that throws or returns an invalid value fails the scrape", async () => {
  for (
    const read of [() => NaN, () => -1, away]
  ) {
    const metrics = new Metrics();
    metrics.counterOf("events_total", "Events", read);
    await assertRejects(() => metrics.render(), Error, read === away ? "away" : "events_total is");
  }
});

Deno.test("a duplicate name or an undeclared label is an error", () => {
  const metrics = new Metrics();
  const events = metrics.counter("events_total", "Events", ["outcome"]);
  assertThrows(() => metrics.gauge("events_total", "Again"), Error, "already been registered");
  // @ts-expect-error: the label is misspelled.
  assertThrows(() => events.inc({ outcom: "x" }, 1), Error, "outcom");
});

Deno.test("every process has build info, CPU, memory and event loop lag", async () => {
  const metrics = new Metrics();
  using _lag = addProcessMetrics(metrics, { service: "ingest", version: "1.2.3" });
  const read = async () =>
    new Map((await samples(metrics)).map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }));
  const lags = async () => (await read()).get("twofold_event_loop_lag_seconds_count") ?? 0;
  await waitFor("the first measurement", async () => await lags() >= 1);
  const until = performance.now() + 300;
  while (performance.now() < until);
  const before = await lags();
  await waitFor("a measurement of the busy time", async () => await lags() > before);
  const all = await read();
  // What is missing fails every comparison.
  const valueOf = (name: string) => all.get(name) ?? NaN;
  const build = `{version="1.2.3",deno="${Deno.version.deno}",service="ingest"}`;
  assertEquals(valueOf(`twofold_build_info${build}`), 1);
  assert(valueOf("process_cpu_seconds_total") > 0.3);
  assert(valueOf("process_resident_memory_bytes") > 10e6);
  assert(Math.abs(valueOf("process_start_time_seconds") - Date.now() / 1_000) < 600);
  assert(valueOf("twofold_event_loop_lag_seconds_count") >= 2);
  assert(valueOf("twofold_event_loop_lag_seconds_sum") > 0.15);
});
