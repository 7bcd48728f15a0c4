import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { type ChaosFault, ROUND_MS, scheduleOf, targetsOf } from "./schedule.ts";

const SEEDS = Array.from({ length: 50 }, (_, seed) => seed);

function overlap(a: ChaosFault, b: ChaosFault): boolean {
  return a !== b && a.beginMs < b.endMs && b.beginMs < a.endMs;
}

Deno.test("the same seed gives the same schedule, another seed another one", () => {
  assertEquals(scheduleOf(7, 4, 3), scheduleOf(7, 4, 3));
  assertNotEquals(scheduleOf(7, 4, 3), scheduleOf(8, 4, 3));
});

Deno.test("faults overlap, but never two of one target; each ends in its round", () => {
  for (const seed of SEEDS) {
    const { faults } = scheduleOf(seed, 3, 1);
    assert(faults.some((a) => faults.some((b) => overlap(a, b))), `seed ${seed}`);
    for (const fault of faults) {
      assert(fault.beginMs < fault.endMs);
      // A calm of 15 s: everything has to be healthy again before the round ends.
      assert(fault.endMs % ROUND_MS <= ROUND_MS - 15_000, `seed ${seed}: ${fault.endMs}`);
      const others = faults.filter(({ target }) => target === fault.target);
      assert(!others.some((other) => overlap(fault, other)), `seed ${seed}: ${fault.target}`);
    }
  }
});

Deno.test("every round has an outage of more than 20 s, and an incident that outlasts its faults", () => {
  for (const seed of SEEDS) {
    const { faults, incidents, durationMs } = scheduleOf(seed, 3, 1);
    assertEquals([incidents.length, durationMs], [3, 3 * ROUND_MS]);
    for (const { beginMs, endMs } of incidents) {
      const round = Math.floor(beginMs / ROUND_MS);
      const own = faults.filter((fault) => Math.floor(fault.beginMs / ROUND_MS) === round);
      assertEquals(own.filter((fault) => fault.endMs - fault.beginMs > 20_000).length, 1);
      assert(own.every((fault) => fault.endMs + 15_000 < endMs), `seed ${seed}`);
    }
  }
});

Deno.test("in every second round, from the first, a pager and NATS are whole but for the outage", () => {
  for (const seed of SEEDS) {
    const { faults } = scheduleOf(seed, 4, 3);
    const hiding = faults.filter(({ target, beginMs, endMs }) =>
      /^(nats-|pager-2)/.test(target) && endMs - beginMs < 20_000
    );
    assert(hiding.every(({ beginMs }) => Math.floor(beginMs / ROUND_MS) % 2 === 1), `seed ${seed}`);
  }
  assert(SEEDS.some((seed) => scheduleOf(seed, 2, 3).faults.some(({ kind }) => kind === "disk")));
});

Deno.test("neighbouring incidents share neither CDN nor region", () => {
  const { incidents } = scheduleOf(3, 30, 1);
  for (const [i, { cdn, region }] of incidents.entries()) {
    const before = incidents[i - 1];
    assert(before?.cdn !== cdn && before?.region !== region, `round ${i}`);
  }
});

Deno.test("enough rounds reach every target in every way, with one node and with three", () => {
  for (const nodes of [1, 3]) {
    const { faults } = scheduleOf(1, 500, nodes);
    const reached = new Set(faults.map(({ target, kind }) => `${kind} ${target}`));
    const all = targetsOf(nodes).flatMap(({ name, kinds }) =>
      kinds.map((kind) => `${kind} ${name}`)
    );
    assertEquals(all.filter((each) => !reached.has(each)), []);
  }
});

Deno.test("a day is closed in a short run too, and a long one closes few days ahead", () => {
  assertEquals(scheduleOf(1, 1, 1).closesAtMs.length, 1);
  const { closesAtMs, durationMs } = scheduleOf(1, 40, 1);
  assertEquals(closesAtMs.length, 5);
  assertEquals(closesAtMs, closesAtMs.toSorted((a, b) => a - b));
  assert(closesAtMs.every((atMs) => atMs < durationMs));
});
