import { assertEquals } from "@std/assert";
import { Metrics } from "./metrics.ts";

Deno.test("the exposition is Prometheus text, one family after the other", () => {
  const metrics = new Metrics();
  const events = metrics.counter("events_total", "Events");
  const lag = metrics.gauge("lag_events", "Events not yet read");
  const seconds = metrics.histogram("wait_seconds", "Waiting", [0.1, 1]);
  events.add();
  events.add(2, { outcome: "accepted" });
  events.add(3, { outcome: "accepted" });
  lag.set(7);
  lag.set(4);
  for (const value of [0.05, 0.1, 0.5, 2]) seconds.observe(value);
  assertEquals(
    metrics.render(),
    `# HELP events_total Events
# TYPE events_total counter
events_total 1
events_total{outcome="accepted"} 5
# HELP lag_events Events not yet read
# TYPE lag_events gauge
lag_events 4
# HELP wait_seconds Waiting
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.1"} 2
wait_seconds_bucket{le="1"} 3
wait_seconds_bucket{le="+Inf"} 4
wait_seconds_sum 2.65
wait_seconds_count 4
`,
  );
  assertEquals(events.value({ outcome: "accepted" }), 5);
  assertEquals(lag.value(), 4);
});

Deno.test("labels are escaped, and their order makes no second sample", () => {
  const metrics = new Metrics();
  const events = metrics.counter("events_total", "Events");
  events.add(1, { a: 'quote " slash \\ line\n', b: "2" });
  events.add(1, { b: "2", a: 'quote " slash \\ line\n' });
  const [, , ...samples] = metrics.render().trimEnd().split("\n");
  assertEquals(samples, ['events_total{a="quote \\" slash \\\\ line\\n",b="2"} 2']);
});
