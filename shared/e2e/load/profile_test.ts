import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../../dev/testing/random.ts";
import { dueAt, loadProfile, PROFILES, requestsOf, Rounds } from "./profile.ts";

Deno.test("a constant load has requests at even distances", () => {
  const profile = loadProfile("constant", 1_000, 60);
  assertEquals(requestsOf(profile, 100), 600);
  for (const request of [0, 1, 299, 599]) {
    assertNear(dueAt(profile, request * 100), request / 10, 1e-6);
  }
});

Deno.test("a premiere steps to five times the rate, and back", () => {
  const { rateAt, dueBefore } = loadProfile("premiere", 500, 100);
  assertEquals([0, 29.9, 30, 69.9, 70, 99].map(rateAt), [100, 100, 500, 500, 100, 100]);
  assertEquals([30, 50, 70, 100].map(dueBefore), [3_000, 13_000, 23_000, 26_000]);
});

Deno.test("a day has its least at midnight and its peak at noon", () => {
  const { rateAt, dueBefore } = loadProfile("diurnal", 1_000, 60);
  assertNear(rateAt(0), 200);
  assertNear(rateAt(30), 1_000);
  assertNear(rateAt(60), 200);
  assertNear(dueBefore(60), 600 * 60, 1e-6);
});

Deno.test("requests are due in order, when as many heartbeats as before them were due", () => {
  const random = propertyRandom("due times");
  for (const name of PROFILES) {
    const perPost = random.pick([1, 20, 100]);
    const profile = loadProfile(name, random.int(200, 5_000), random.int(5, 60));
    let before = 0;
    for (let request = 0; request < requestsOf(profile, perPost); request++) {
      const at = dueAt(profile, request * perPost);
      assert(at >= before && at <= profile.seconds, `${name}: ${request} is due at ${at} s`);
      assertNear(profile.dueBefore(at), request * perPost, 0.01);
      before = at;
    }
  }
});

Deno.test("a profile's rate is how fast its heartbeats become due", () => {
  for (const name of PROFILES) {
    const { rateAt, dueBefore } = loadProfile(name, 1_000, 100);
    for (const second of [1, 20, 45, 90]) {
      assertNear((dueBefore(second + 1e-3) - dueBefore(second)) * 1e3, rateAt(second), 1);
    }
  }
});

Deno.test("each viewer reports once a round, and who left does not", () => {
  const rounds = new Rounds();
  const next = (count: number, active: number) =>
    Array.from({ length: count }, () => rounds.next(active));
  assertEquals(next(4, 2), [0, 1, 0, 1]);
  assertEquals(next(5, 4), [2, 3, 0, 1, 2]);
  assertEquals(next(3, 2), [0, 1, 0]);
});

function assertNear(found: number, expected: number, tolerance = 1e-6): void {
  assert(Math.abs(found - expected) <= tolerance, `${found} is not near ${expected}`);
}
