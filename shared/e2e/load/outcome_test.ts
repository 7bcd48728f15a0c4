import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { GeneratorResult, GeneratorSecond } from "./generator.ts";
import { Latencies } from "./latencies.ts";
import { limitOf, outcomeOf } from "./outcome.ts";

Deno.test("generators are one load: counts are added, times are pooled", () => {
  const outcome = outcomeOf([
    aResult({ accepted: 10, requests: 10, seconds: [aSecond(10, 5), aSecond(20, 50)] }),
    aResult({ accepted: 20, requests: 20, seconds: [aSecond(30, 5)] }),
  ]);
  assertEquals([outcome.accepted, outcome.requests, outcome.events], [30, 30, 14]);
  assertEquals(outcome.seconds.map(({ due }) => due), [40, 20]);
  assertNear(outcome.latency.maxMs, 50);
  assertEquals([outcome.onTimeRatio, limitOf(outcome, 0.2)], [1, "nothing"]);
});

Deno.test("what is never sent, or too late, was not sent on time", () => {
  const late = { ...aSecond(10, 5), tooLate: 3 };
  assertNear(
    outcomeOf([aResult({ requests: 100, unsent: 7, seconds: [late] })]).onTimeRatio,
    0.9,
  );
});

Deno.test("a load that did not hold its rate names what kept it", () => {
  const slow = aResult({ requests: 100, unsent: 50, seconds: [{ ...aSecond(10, 5), waited: 9 }] });
  assertStringIncludes(limitOf(outcomeOf([slow]), 0.2), "9 requests found no connection free");
  assertStringIncludes(limitOf(outcomeOf([slow]), 0.97), "the generator is busy, 97 %");
  const refused = { ...slow, repeated: 5, lastRefusal: "429 busy" };
  assertStringIncludes(limitOf(outcomeOf([refused]), 0.2), "refused 5 requests: 429 busy");
  const starved = { ...slow, seconds: [{ ...aSecond(10, 5), late: times(500) }] };
  assertStringIncludes(limitOf(outcomeOf([starved]), 0.2), "500 ms late at p99 by itself");
});

function aResult(changes: Partial<GeneratorResult>): GeneratorResult {
  return {
    requests: 0,
    accepted: 0,
    lost: 0,
    unsent: 0,
    repeated: 0,
    cells: [{ titleId: "t", region: "r0", events: 7, ms: 70_000 }],
    seconds: [],
    ...changes,
  };
}

function aSecond(due: number, ms: number): GeneratorSecond {
  const latency = times(ms);
  return { due, accepted: due, latency, service: latency, late: times(0), waited: 0, tooLate: 0 };
}

function times(ms: number) {
  const latencies = new Latencies();
  latencies.add(ms);
  return latencies.counts();
}

function assertNear(found: number, expected: number, tolerance = 1e-6): void {
  assert(Math.abs(found - expected) <= tolerance, `${found} is not near ${expected}`);
}
