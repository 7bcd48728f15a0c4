import { assert, assertEquals } from "@std/assert";
import { propertyRandom } from "../../shared/dev/testing/random.ts";
import { commonTimeMs, ReceiptClock } from "./receipt_clock.ts";

/** A receipt far from any clock of this machine. */
const T = 1_000_000;

Deno.test("the clock runs on from the newest receipt, for three seconds after a proof", () => {
  const clock = new ReceiptClock();
  assertEquals([clock.nowMs(5), clock.estimateMs(5)], [undefined, undefined]);
  clock.heard(T, 10_000);
  assertEquals(clock.nowMs(10_500), T, "older heartbeats may wait");
  clock.proved(10_000);
  assertEquals(clock.nowMs(10_500), T + 500);
  assertEquals(clock.nowMs(90_000), T + 3_000);
  clock.proved(89_000);
  assertEquals(clock.nowMs(90_000), T + 80_000);
  assertEquals(clock.estimateMs(100_000), T + 90_000);
});

Deno.test("a pause of this process is not a pause of the viewers", () => {
  const clock = new ReceiptClock();
  clock.heard(T, 1_000);
  clock.proved(1_000);
  // Suspended for ten minutes; the first heartbeats that are read are as old.
  assertEquals(clock.nowMs(601_000), T + 3_000);
  clock.heard(T + 1_500, 601_000);
  assertEquals(clock.nowMs(601_100), T + 1_500);
  clock.heard(T + 599_990, 602_000);
  clock.proved(602_000);
  assertEquals(clock.nowMs(602_000), T + 599_990);
});

Deno.test("the server's clock counts until the first heartbeat", () => {
  const clock = new ReceiptClock();
  clock.proved(1_000, T);
  assertEquals(clock.nowMs(2_000), T + 1_000);
  clock.proved(3_000, T + 2_050);
  assertEquals(clock.nowMs(3_000), T + 2_050);
  clock.heard(T + 100, 4_000);
  clock.proved(5_000, T + 90_000);
  assertEquals(clock.nowMs(5_000), T + 1_100);
});

Deno.test("the clock is never ahead of the stream's, however late heartbeats are read", () => {
  const random = propertyRandom("receipt clock");
  const offset = random.int(-1e9, 1e9) + 2e9;
  const clock = new ReceiptClock();
  let readMs = 0;
  for (let storedMs = 0; storedMs < 300_000; storedMs += random.int(0, 4_000)) {
    readMs = Math.max(readMs, storedMs + (random.chance(0.1) ? random.int(0, 30_000) : 3));
    clock.heard(storedMs + offset, readMs);
    if (random.chance(0.5)) clock.proved(readMs);
    const nowMs = readMs + random.int(0, 20_000);
    const shown = clock.nowMs(nowMs) ?? 0;
    assert(shown >= storedMs + offset && shown <= nowMs + offset);
  }
});

Deno.test("the slowest stream is waited for, but not one that comes back from the past", () => {
  assertEquals(commonTimeMs([], -Infinity), undefined);
  assertEquals(commonTimeMs([T, T - 60_000], -Infinity), T - 60_000);
  assertEquals(commonTimeMs([T, T - 60_000], T - 1_000), T);
  assertEquals(commonTimeMs([T, T - 4_000], T), T - 4_000);
  assertEquals(commonTimeMs([T - 90_000, T - 80_000], T), T - 90_000, "the clocks went back");
});
