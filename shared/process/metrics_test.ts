import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { addProcessMetrics, Metrics } from "./metrics.ts";

async function samples(metrics: Metrics): Promise<string[]> {
  const lines = (await metrics.render()).split("\n");
  return lines.filter((line) => line !== "" && !line.startsWith("#"));
}

Deno.test("the exposition is Prometheus text, one family after the other", async () => {
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

Deno.test("labels are escaped, and their order makes no second sample", async () => {
  const metrics = new Metrics();
  const events = metrics.counter("events_total", "Events", ["a", "b"]);
  events.inc({ a: 'quote " slash \\ line\n', b: "2" });
  events.inc({ b: "2", a: 'quote " slash \\ line\n' });
  assertEquals(await samples(metrics), ['events_total{a="quote \\" slash \\\\ line\\n",b="2"} 2']);
});

Deno.test("what others keep is read at every scrape, and what is gone disappears", async () => {
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

Deno.test("a reader that is wrong fails the scrape instead of showing a wrong figure", async () => {
  for (
    const read of [() => NaN, () => -1, () => {
      throw new Error("away");
    }]
  ) {
    const metrics = new Metrics();
    metrics.counterOf("events_total", "Events", read);
    await assertRejects(() => metrics.render());
  }
});

Deno.test("a name is there once, and a label that was not named is an error", () => {
  const metrics = new Metrics();
  const events = metrics.counter("events_total", "Events", ["outcome"]);
  assertThrows(() => metrics.gauge("events_total", "Again"), Error, "already been registered");
  // @ts-expect-error: the label is misspelled.
  assertThrows(() => events.inc({ outcom: "x" }, 1), Error, "outcom");
});

Deno.test("every process says what it is, what it costs and how late its event loop is", async () => {
  const metrics = new Metrics();
  using _lag = addProcessMetrics(metrics, { service: "ingest", version: "1.2.3" });
  await new Promise((done) => setTimeout(done, 150));
  const until = performance.now() + 300;
  while (performance.now() < until);
  await new Promise((done) => setTimeout(done, 150));
  const all = new Map((await samples(metrics)).map((line) => {
    const at = line.lastIndexOf(" ");
    return [line.slice(0, at), Number(line.slice(at + 1))];
  }));
  const build = `{version="1.2.3",deno="${Deno.version.deno}",service="ingest"}`;
  assertEquals(all.get(`twofold_build_info${build}`), 1);
  assert(all.get("process_cpu_seconds_total")! > 0.3);
  assert(all.get("process_resident_memory_bytes")! > 10e6);
  assert(Math.abs(all.get("process_start_time_seconds")! - Date.now() / 1_000) < 600);
  assert(all.get("twofold_event_loop_lag_seconds_count")! >= 2);
  assert(all.get("twofold_event_loop_lag_seconds_sum")! > 0.15);
});
