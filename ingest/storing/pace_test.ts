import { assert, assertEquals } from "@std/assert";
import { MAX_BATCHES, Pace } from "./pace.ts";

/** Batches of `bytes` that fit at once. */
function sendAll(pace: Pace, bytes: number, roundTripMs: number): number {
  for (let batches = 0;; batches++) {
    if (pace.roomBytes(roundTripMs) === 0 || batches === 1_000) return batches;
    pace.sent(bytes);
  }
}

/** Sends windows of batches, each acknowledged after `tookMs` of 1 s, `rounds` times. */
function exchange(pace: Pace, bytes: number, tookMs: number, rounds: number): number {
  for (let round = 0;; round++) {
    const batches = sendAll(pace, bytes, 500);
    if (round === rounds) return batches;
    for (let i = 0; i < batches; i++) pace.landed(bytes, tookMs, 1_000);
    for (let i = 0; i < batches; i++) pace.settled(bytes);
  }
}

Deno.test("a long link holds more batches than a short one, within a bound", () => {
  const fits = [0, 9, 10, 200, 500, 1_000, 60_000].map((ms) => sendAll(new Pace(4), 1, ms));
  assertEquals(fits, [4, 4, 5, 24, 54, MAX_BATCHES, MAX_BATCHES]);
});

Deno.test("the window of bytes doubles while answers are early, up to what batches hold", () => {
  const pace = new Pace(4);
  const first = exchange(pace, 8_000, 100, 0);
  assert(first * 8_000 <= 64 * 1024 + 8_000, `${first} batches`);
  assertEquals(exchange(new Pace(4), 8_000, 100, 6), 54);
});

Deno.test("late and missing answers shrink the window, and early ones let it grow again", () => {
  const pace = new Pace(4);
  exchange(pace, 500, 900, 40);
  assert(pace.roomBytes(0) === 0);
  const small = new Pace(4);
  for (let i = 0; i < 40; i++) small.missed();
  assertEquals(small.roomBytes(0), 4 * 1024, "never nothing");
  const again = exchange(small, 1_000, 100, 20);
  assert(again > 20, `${again} batches`);
});

Deno.test("an attempt has its share of what is left, or a few round trips, and no more", () => {
  const pace = new Pace(4);
  assertEquals(pace.timeoutMs(4_500, 3, 1), 1_500);
  assertEquals(pace.timeoutMs(4_500, 3, 500), 2_000);
  assertEquals(pace.timeoutMs(4_500, 3, 5_000), 4_500);
  assertEquals(pace.timeoutMs(900, 1, 0), 900);
});
