import { assert, assertEquals, assertExists, assertLessOrEqual, assertThrows } from "@std/assert";
import { judge } from "../../contract/event.ts";
import { type Beat, HEARTBEAT_MS, Playback, Player, type Segment } from "./player.ts";
import { Calendar } from "./uplink.ts";
import { propertyRandom, Random } from "../testing/random.ts";

const START_MS = Date.UTC(2026, 0, 5);

Deno.test("a player reports every ten seconds and at each change of state", () => {
  const beats = beatsOf([
    { state: "starting", ms: 1_200, playedMs: 0 },
    { state: "playing", ms: 12_000, playedMs: 12_000 },
    { state: "rebuffering", ms: 3_000, playedMs: 0 },
    { state: "playing", ms: 10_000, playedMs: 10_000 },
  ]);
  const lines = beats.map((
    beat,
  ) => [
    beat.atMs,
    beat.state,
    beat.intervalMs,
    beat.playedMs,
    beat.rebufferMs,
    beat.rebufferCount,
  ]);
  assertEquals(lines, [
    [0, "starting", 0, 0, 0, 0],
    [1_200, "playing", 1_200, 0, 0, 0],
    [11_200, "playing", 10_000, 10_000, 0, 0],
    [13_200, "rebuffering", 2_000, 2_000, 0, 1],
    [16_200, "playing", 3_000, 0, 3_000, 0],
    [26_200, "ended", 10_000, 10_000, 0, 0],
  ]);
});

Deno.test("a session that never shows a frame says so all the time, and plays nothing", () => {
  const beats = beatsOf([{ state: "starting", ms: 25_000, playedMs: 0 }]);
  assertEquals(beats.map(({ atMs, state, intervalMs }) => [atMs, state, intervalMs]), [
    [0, "starting", 0],
    [10_000, "starting", 10_000],
    [20_000, "starting", 10_000],
    [25_000, "ended", 5_000],
  ]);
  assert(beats.every(({ playedMs, rebufferMs }) => playedMs + rebufferMs === 0));
});

Deno.test("property: the sums of beats and segments are equal", () => {
  const random = propertyRandom("fleet beats");
  for (let round = 0; round < 500; round++) {
    const segments = randomSegments(random);
    const beats = beatsOf(segments);
    const sum = (of: (beat: Beat) => number) => beats.reduce((total, beat) => total + of(beat), 0);
    const ms = (state: string) =>
      segments.reduce((total, each) => total + (each.state === state ? each.ms : 0), 0);
    const stalls = segments.filter(({ state }, i) =>
      state === "rebuffering" && segments[i - 1]?.state !== "rebuffering"
    );
    assertEquals(sum((beat) => beat.playedMs), segments.reduce((t, s) => t + s.playedMs, 0));
    assertEquals(sum((beat) => beat.rebufferMs), ms("rebuffering"));
    assertEquals(sum((beat) => beat.intervalMs), segments.reduce((t, s) => t + s.ms, 0));
    assertEquals(sum((beat) => beat.rebufferCount), stalls.length);
    for (const beat of beats) assertLessOrEqual(beat.intervalMs, HEARTBEAT_MS);
    assertEquals(beats.at(-1)?.state, "ended");
  }
});

Deno.test("a send is a valid heartbeat with the numbers of its beat", () => {
  const random = new Random(1);
  const beat = firstBeatOf({ state: "playing", ms: 4_000, playedMs: 3_999 });
  const player = aPlayer();
  const judged = [0, 1].map(() => judge(player.send(random, beat, START_MS, 0).bytes));
  const heartbeats = judged.map((judgement) => {
    assert(judgement.ok);
    return judgement.heartbeat;
  });
  assertEquals(heartbeats.map(({ seq }) => seq), [0, 1]);
  const [heartbeat] = heartbeats;
  assertExists(heartbeat);
  assertEquals(heartbeat.played_ms, 3_999);
  assertEquals(heartbeat.media_ms, 3_999);
  assertEquals(heartbeat.ts, START_MS);
  assertEquals(heartbeat.device.build, "1.0");
});

Deno.test("property: every send of a broken build is rejected, and no two are equal", () => {
  const random = propertyRandom("malformed heartbeats");
  const player = aPlayer();
  const beat = firstBeatOf({ state: "playing", ms: 10_000, playedMs: 10_000 });
  const seen = new Set<string>();
  const reasons = new Set<string>();
  for (let i = 0; i < 2_000; i++) {
    const send = player.malformed(random, beat, START_MS + i, 0);
    const judgement = judge(send.bytes);
    assert(!judgement.ok, new TextDecoder().decode(send.bytes));
    reasons.add(judgement.rejection.reason);
    assertEquals(
      send.framing === "line",
      ["not_json", "not_utf8"].includes(judgement.rejection.reason),
    );
    seen.add(String(send.bytes));
  }
  assertEquals(seen.size, 2_000);
  assertEquals(
    [...reasons].sort(),
    ["implausible", "malformed", "not_json", "not_utf8", "unsupported_version"],
  );
});

Deno.test("a calendar yields items added to the current tick, and refuses items of earlier ticks", () => {
  const calendar = new Calendar<string>(10);
  calendar.add(5, "a");
  const seen: string[] = [];
  for (const item of calendar.take(0)) {
    seen.push(item);
    if (item === "a") calendar.add(9, "b");
  }
  assertEquals(seen, ["a", "b"]);
  assertThrows(() => calendar.add(9, "c"), RangeError);
});

function beatsOf(segments: readonly Segment[]): Beat[] {
  const rest = segments.values();
  const playback = new Playback(() => rest.next().value);
  const beats: Beat[] = [];
  for (let beat = playback.beat(); beat; beat = playback.beat()) beats.push(beat);
  return beats;
}

function firstBeatOf(segment: Segment): Beat {
  const [beat] = beatsOf([segment]);
  assertExists(beat);
  return beat;
}

function randomSegments(random: Random): Segment[] {
  const states = ["playing", "playing", "rebuffering", "paused", "seeking", "ad"] as const;
  return Array.from({ length: random.int(1, 12) }, (_, i) => {
    const first = random.chance(0.5) ? "starting" : "playing";
    const state = i === 0 ? first : random.pick(states);
    const ms = random.chance(0.1) ? 0 : random.int(1, 25_000);
    const playedMs = state === "playing" ? random.int(0, ms) : 0;
    return { state, ms, playedMs };
  });
}

function aPlayer(): Player {
  return new Player({
    sessionId: "s",
    deviceId: "d",
    titleId: "t",
    region: "de",
    device: { model: "m", os: "o", build: "1.0" },
  });
}
