import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { heartbeatSchema } from "../../contract/event.ts";
import type { Heartbeat } from "../../contract/event.ts";
import { Random } from "../../dev/testing/random.ts";
import {
  gapMs,
  interpolated,
  LONG_STALLS,
  meanStallMs,
  RECORDED_STALLS,
  STALL_RATIO,
  stallMs,
  WATCH_SECONDS,
  watchMs,
} from "./calibration.ts";
import { faultOf, SMALL, stalls } from "../detection/scenarios.ts";
import { quantile } from "../detection/score.ts";
import { World, WORLD_START_MS, type WorldOptions } from "./world.ts";

const HEALTHY: WorldOptions = {
  seed: 7,
  population: SMALL,
  groups: [{ viewers: 2_000 }],
  faults: [],
};

/** Runs a world; returns what arrived in it. */
function arrivals(options: WorldOptions, seconds: number) {
  const world = new World(options);
  const received: { heartbeat: Heartbeat; receivedAtMs: number }[] = [];
  for (let second = 0; second < seconds; second++) {
    world.second((heartbeat, receivedAtMs) => received.push({ heartbeat, receivedAtMs }));
  }
  return { world, received };
}

function stalledShare(heartbeats: readonly Heartbeat[]): number {
  const stalled = heartbeats.reduce((sum, { rebuffer_ms }) => sum + rebuffer_ms, 0);
  const played = heartbeats.reduce((sum, { played_ms }) => sum + played_ms, 0);
  return stalled / (stalled + played);
}

Deno.test("watch times have Puffer's quantiles", () => {
  const random = new Random(1);
  const drawn = Array.from({ length: 20_000 }, () => watchMs(random) / 1_000);
  for (const share of [0.2, 0.5, 0.8, 0.95]) {
    const expected = interpolated(WATCH_SECONDS, share);
    const measured = quantile(drawn, share) ?? 0;
    assert(Math.abs(measured / expected - 1) < 0.15, `${share}: ${measured} s, not ${expected} s`);
  }
});

Deno.test("stalls have the mean that their shape says, gaps give the ratio", () => {
  const random = new Random(2);
  const mean = (count: number, draw: () => number) =>
    Array.from({ length: count }, draw).reduce((sum, each) => sum + each, 0) / count;
  for (const shape of [RECORDED_STALLS, LONG_STALLS]) {
    const stall = mean(20_000, () => stallMs(random, shape));
    assert(Math.abs(stall / meanStallMs(shape) - 1) < 0.1, `${stall} ms`);
    for (const ratio of [0.002, 0.05, 0.4]) {
      const gap = mean(20_000, () => gapMs(random, shape, ratio));
      const measured = stall / (stall + gap);
      assert(Math.abs(measured / ratio - 1) < 0.15, `${measured}, not ${ratio}`);
    }
  }
});

Deno.test("a healthy world stalls as much as Puffer's viewers", () => {
  const { received } = arrivals({ ...HEALTHY, groups: [{ viewers: 4_000 }] }, 1_200);
  const ratio = stalledShare(received.map(({ heartbeat }) => heartbeat));
  const { low, high } = STALL_RATIO.all;
  assert(low < ratio && ratio < high, `${ratio} is not from ${low} to ${high}`);
});

Deno.test("few sessions have most of the stalled time", () => {
  const { received } = arrivals(HEALTHY, 900);
  const bySession = Map.groupBy(received, ({ heartbeat }) => heartbeat.session_id);
  const stalled = [...bySession.values()]
    .map((each) => each.reduce((sum, { heartbeat }) => sum + heartbeat.rebuffer_ms, 0))
    .sort((a, b) => b - a);
  const total = stalled.reduce((sum, each) => sum + each, 0);
  const top = stalled.slice(0, Math.ceil(stalled.length / 20)).reduce((sum, each) => sum + each, 0);
  assert(top > 0.6 * total, `a twentieth of the sessions has ${top} of ${total} ms`);
});

Deno.test("heartbeats are valid, about every 10 s, in order of receipt and about 2 s late", () => {
  const { received, world } = arrivals(HEALTHY, 300);
  assertEquals(world.heartbeats, received.length);
  assert(Math.abs(received.length / (2_000 * 30) - 1) < 0.05, `${received.length} heartbeats`);
  for (const { heartbeat } of received.slice(0, 500)) {
    assertEquals(heartbeatSchema.safeParse(heartbeat).success, true, JSON.stringify(heartbeat));
  }
  const receipts = received.map(({ receivedAtMs }) => receivedAtMs);
  assertEquals(receipts, receipts.toSorted((a, b) => a - b));
  const late = received.map(({ heartbeat, receivedAtMs }) => receivedAtMs - heartbeat.ts);
  const median = quantile(late, 0.5) ?? 0;
  assert(1_500 < median && median < 2_500, `${median} ms`);
});

Deno.test("no heartbeat is implausible, whatever is wrong", () => {
  const faults = [
    faultOf({}, stalls(0.4), { fromMs: 60_000, lastsMs: 60_000 }),
    faultOf({}, stalls(1), { fromMs: 130_000, lastsMs: 60_000 }),
    faultOf({}, { what: "no_start" }, { fromMs: 200_000, lastsMs: 60_000 }),
  ];
  const { received } = arrivals({ ...HEALTHY, faults, offlineShare: 0.01 }, 300);
  const implausible = received.filter(({ heartbeat }) =>
    heartbeat.played_ms + heartbeat.rebuffer_ms > heartbeat.interval_ms * 1.5 + 1_000
  );
  assertEquals(implausible, []);
});

Deno.test("a fault has the size that it says, and ends", () => {
  for (const ratio of [0.08, 0.4, 1]) {
    const faults = [
      faultOf({ region: "r00" }, stalls(ratio), { fromMs: 60_000, lastsMs: 300_000 }),
    ];
    const { received } = arrivals({ ...HEALTHY, faults }, 480);
    const within = (fromMs: number, untilMs: number, isHit: boolean) =>
      stalledShare(
        received.map(({ heartbeat }) => heartbeat).filter(({ region, ts }) =>
          (region === "r00") === isHit && WORLD_START_MS + fromMs <= ts &&
          ts < WORLD_START_MS + untilMs
        ),
      );
    const measured = within(90_000, 355_000, true);
    assert(Math.abs(measured - ratio) < 0.2 * ratio + 0.01, `${measured}, not ${ratio}`);
    assert(within(90_000, 355_000, false) < 0.01, "others go on");
    assert(within(400_000, 480_000, true) < 0.02, "it ends");
  }
});

Deno.test("an audience goes up and down as its group says", () => {
  const activeShare = (atMs: number) => (atMs < 120_000 ? 0.2 : 1);
  const world = new World({ ...HEALTHY, groups: [{ viewers: 1_000, activeShare }] });
  assertEquals(world.watching, 200);
  for (let second = 0; second < 125; second++) world.second(() => {});
  assertEquals(world.watching, 1_000);
});

Deno.test("a vanished audience is not heard, devices that were offline send everything", () => {
  const fault = (what: "vanish" | "offline") =>
    faultOf({ region: "r00" }, { what }, { fromMs: 60_000, lastsMs: 60_000 });
  for (const what of ["vanish", "offline"] as const) {
    const { received } = arrivals({ ...HEALTHY, faults: [fault(what)] }, 210);
    const heard = received.filter(({ heartbeat, receivedAtMs }) =>
      heartbeat.region === "r00" && receivedAtMs > WORLD_START_MS + 75_000 &&
      receivedAtMs < WORLD_START_MS + 115_000
    );
    assert(heard.length < 100, `${heard.length} heartbeats from the region`);
    const late = received.filter(({ heartbeat, receivedAtMs }) =>
      receivedAtMs - heartbeat.ts > 30_000
    );
    assertEquals(late.length > 100, what === "offline");
  }
});

Deno.test("a seed gives the same heartbeats again, another seed others", () => {
  const first = arrivals(HEALTHY, 60).received;
  assertEquals(arrivals(HEALTHY, 60).received, first);
  // Not by the names alone, which may have the seed in them.
  const played = ({ received }: ReturnType<typeof arrivals>) =>
    received.map(({ heartbeat, receivedAtMs }) => [heartbeat.played_ms, receivedAtMs]);
  assertNotEquals(
    played(arrivals({ ...HEALTHY, seed: 8 }, 60)),
    played(arrivals(HEALTHY, 60)),
  );
});
