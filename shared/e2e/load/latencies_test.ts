import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../../dev/testing/random.ts";
import { Latencies } from "./latencies.ts";

Deno.test("a quantile is never below the true one, and at most 2.2 % above", () => {
  const random = propertyRandom("latencies");
  for (let run = 0; run < 50; run++) {
    const times = Array.from({ length: random.int(1, 2_000) }, () => 10 ** (random.next() * 6 - 1));
    const latencies = new Latencies();
    for (const time of times) latencies.add(time);
    const sorted = times.toSorted((a, b) => a - b);
    for (const q of [0, 0.5, 0.99, 0.999, 1]) {
      const exact = sorted[Math.max(0, Math.ceil(sorted.length * q) - 1)] ?? NaN;
      const found = latencies.quantileMs(q) ?? NaN;
      assert(found >= exact * (1 - 1e-9) && found <= exact * 1.022, `${q}: ${found} for ${exact}`);
    }
    assertEquals([latencies.count, latencies.maxMs], [times.length, sorted.at(-1)]);
  }
});

Deno.test("parts are together what all at once would be, through JSON too", () => {
  const [all, one, two] = [new Latencies(), new Latencies(), new Latencies()];
  for (let ms = 1; ms <= 1_000; ms++) {
    all.add(ms);
    (ms % 3 === 0 ? one : two).add(ms);
  }
  const parts = JSON.parse(JSON.stringify([one.counts(), two.counts()]));
  const together = Latencies.of(parts);
  assertEquals(together.counts(), all.counts());
  assertEquals(together.quantileMs(0.99), all.quantileMs(0.99));
});

Deno.test("what is early counts as no time, and none have no quantile", () => {
  const latencies = new Latencies();
  assertEquals(latencies.quantileMs(0.5), undefined);
  latencies.add(-1);
  assertEquals([latencies.count, latencies.quantileMs(0.5)], [1, 0]);
});
