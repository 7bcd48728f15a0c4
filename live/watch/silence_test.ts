import { assert, assertEquals } from "@std/assert";
import { Hearing, SilenceDetector } from "./silence.ts";

Deno.test("silence opens once when heartbeats stop and resolves once when they resume", () => {
  const silence = new SilenceDetector(30_000);
  silence.heartbeatSeen(1_000);
  assertEquals(silence.check(30_999), undefined);
  assertEquals(silence.check(31_000), "opened");
  assertEquals(silence.check(90_000), undefined);
  silence.heartbeatSeen(90_500);
  assertEquals(silence.check(91_000), "resolved");
  assertEquals(silence.check(92_000), undefined);
});

Deno.test("a stream that never had a heartbeat is not silent", () => {
  assertEquals(new SilenceDetector(30_000).check(1e9), undefined);
});

Deno.test("silence that an earlier process reported continues until a heartbeat arrives", () => {
  const silence = new SilenceDetector(30_000, true);
  assertEquals(silence.check(1e9), undefined);
  silence.heartbeatSeen(1e9);
  assertEquals(silence.check(1e9), "resolved");
});

/** Lets `seconds` pass, in which a share of 100 sessions is heard each 10 s. */
function hear(hearing: Hearing, fromS: number, seconds: number, share: number): void {
  for (let second = fromS + 1; second <= fromS + seconds; second++) {
    for (let beat = 0; beat < 10 * share; beat++) hearing.heard(10_000);
    hearing.advance(second * 1_000, 100);
  }
}

Deno.test("time in which most of what is due is not heard does not count, from its begin", () => {
  const hearing = new Hearing();
  hear(hearing, 0, 60, 1);
  assertEquals([hearing.isDeaf, hearing.deafMs(0, 60_000)], [false, 0]);
  hear(hearing, 60, 20, 0);
  assert(hearing.isDeaf);
  const deafMs = hearing.deafMs(0, 80_000);
  assert(deafMs >= 18_000 && deafMs <= 20_000, `${deafMs}`);
  hear(hearing, 80, 20, 1);
  assert(!hearing.isDeaf);
  const afterMs = hearing.deafMs(80_000, 100_000);
  assert(afterMs > 0 && afterMs <= 5_000, `${afterMs}: until enough of the window is heard`);
  assertEquals(hearing.deafMs(0, 60_000), 0);
});

Deno.test("what is heard of more than a part of the sessions is silence of the others", () => {
  const hearing = new Hearing();
  hear(hearing, 0, 60, 1);
  hear(hearing, 60, 60, 0.5);
  assertEquals(hearing.deafMs(0, 120_000), 0);
});

Deno.test("after a minute nobody is heard because nobody sends, and few sessions tell nothing", () => {
  const hearing = new Hearing();
  hear(hearing, 0, 60, 1);
  hear(hearing, 60, 600, 0);
  assertEquals(hearing.deafMs(0, 660_000), 60_000);
  const few = new Hearing();
  for (let second = 1; second <= 60; second++) few.advance(second * 1_000, 19);
  assert(!few.isDeaf);
  // The steps of a time without heartbeats grow.
  const leap = new Hearing();
  hear(leap, 0, 60, 1);
  leap.advance(1_000_000, 100);
  assertEquals(leap.deafMs(0, 1_000_000), 60_000);
});
