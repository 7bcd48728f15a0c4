import {
  assert,
  assertEquals,
  assertExists,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { judge } from "../../contract/event.ts";
import type { Segment, Send } from "../fleet/player.ts";
import { propertyRandom, type Random } from "../testing/random.ts";
import {
  contentEnd,
  parseSessions,
  parseTrace,
  type PlaybackSample,
  type PlaybackTrace,
  sessionSegments,
  traceSegments,
  watchedOf,
} from "./recordings.ts";
import { readRecordings } from "./folder.ts";
import { DEFAULT_REPLAY, Replay, type ReplayOptions } from "./replay.ts";
import { Truth } from "../fleet/truth.ts";

const START_MS = Date.UTC(2026, 0, 5);

Deno.test("the time before media time advances is start-up, not a stall", () => {
  const trace = aTrace([
    { tMs: 0, positionMs: 0, bufferMs: 0, event: "buffering" },
    { tMs: 28_507, positionMs: 18, bufferMs: 5_450, event: "playing" },
    ...played(28_507, 18, 20),
  ]);
  assertEquals(merged(traceSegments(trace)), ["starting 28489", "playing 20018"]);
});

Deno.test("media time that does not advance is a stall unless the session is paused", () => {
  const stalled = aTrace([
    { tMs: 0, positionMs: 0, bufferMs: 0, event: "playing" },
    ...played(0, 0, 10),
    { tMs: 10_400, positionMs: 10_400, bufferMs: 50, event: "buffering" },
    { tMs: 11_400, positionMs: 10_400, bufferMs: 50 },
    { tMs: 14_400, positionMs: 10_400, bufferMs: 4_000, event: "playing" },
    ...played(14_400, 10_400, 5),
  ]);
  assertEquals(merged(traceSegments(stalled)), [
    ...["playing 10400", "rebuffering 4000", "playing 5000"],
  ]);
  const paused = aTrace(
    stalled.samples.map((sample) =>
      sample.event === "buffering" ? { ...sample, event: "paused" } : sample
    ),
  );
  assertEquals(merged(traceSegments(paused)), ["playing 10400", "paused 4000", "playing 5000"]);
});

Deno.test("a gap in the samples shows the buffer, then a stall, then the rest", () => {
  const trace = aTrace([
    { tMs: 0, positionMs: 0, bufferMs: 0, event: "playing" },
    ...played(0, 0, 10),
    { tMs: 10_100, positionMs: 10_100, bufferMs: 550 },
    { tMs: 40_100, positionMs: 13_100, bufferMs: 9_000, event: "playing" },
    ...played(40_100, 13_100, 3),
  ]);
  assertEquals(merged(traceSegments(trace)), [
    ...["playing 10650", "rebuffering 27000", "playing 5450"],
  ]);
});

Deno.test("a jump of media time is a seek and is not credited", () => {
  const trace = aTrace([
    { tMs: 0, positionMs: 0, bufferMs: 0, event: "playing" },
    ...played(0, 0, 5),
    { tMs: 6_000, positionMs: 300_000, bufferMs: 0 },
    ...played(6_000, 300_000, 5),
    { tMs: 12_000, positionMs: 100_000, bufferMs: 0 },
    ...played(12_000, 100_000, 2),
  ]);
  assertEquals(watchedOf(trace), 12_000);
  assertEquals(shown(traceSegments(trace)), 12_000);
});

Deno.test("the end of content is distinguished from a stall that never ends", () => {
  const before = played(0, 0, 120).map((sample) => ({
    ...sample,
    bufferMs: 120_000 - sample.positionMs,
  }));
  const still = [121, 122, 123, 124].map((s) => ({
    tMs: s * 1000,
    positionMs: 120_000,
    bufferMs: 0,
  }));
  const first: PlaybackSample = { tMs: 0, positionMs: 0, bufferMs: 120_000, event: "playing" };
  const over = aTrace([first, ...before, ...still]);
  assertEquals(contentEnd(over), 120);
  assertEquals(merged(traceSegments(over)), ["playing 120000"]);

  const said = still.map((sample, i): PlaybackSample =>
    i === 0 ? { ...sample, event: "buffering" } : sample
  );
  const stall = aTrace([first, ...before, ...said]);
  assertEquals(contentEnd(stall), undefined);
  assertEquals(merged(traceSegments(stall)), ["playing 120000", "rebuffering 4000"]);

  const streaming = before.map((sample) => ({ ...sample, bufferMs: 4_000 }));
  assertEquals(contentEnd(aTrace([first, ...streaming, ...still])), undefined);
});

Deno.test("property: the content shown equals the advance of the position to the millisecond", () => {
  const random = propertyRandom("traces");
  for (let round = 0; round < 400; round++) {
    const trace = randomTrace(random);
    const [first] = trace.samples;
    const last = trace.samples.at(-1);
    assertExists(first);
    assertExists(last);
    assertEquals(watchedOf(trace), last.positionMs - first.positionMs);
    assertEquals(shown(traceSegments(trace)), watchedOf(trace));
    for (const send of replaySends({ traces: [trace], sessions: [] }, { viewers: 1 })) {
      const judgement = judge(send.bytes);
      assert(judgement.ok, JSON.stringify(judgement));
    }
  }
});

Deno.test("an invalid line is reported with its number and reason", () => {
  const header = '{"trace":"a"}';
  const sample = '{"t_ms":0,"position_s":0}';
  const cases: [string, string][] = [
    ["", "line 1: this is not JSON"],
    ["{}", "line 1: trace: "],
    ['{"trace":"../x"}', "line 1: trace: "],
    [header, "line 1: a trace needs at least two samples"],
    [`${header}\n${sample}\n{"t_ms":1`, "line 3: this is not JSON"],
    [`${header}\n${sample}\n{"t_ms":"1","position_s":0}`, "line 3: t_ms: "],
    [`${header}\n${sample}\n{"t_ms":1,"position_s":null}`, "line 3: position_s: "],
    [`${header}\n${sample}\n{"t_ms":1,"position_s":0,"event":"gone"}`, "line 3: event: "],
    [`${header}\n{"t_ms":9,"position_s":0}\n${sample}`, "line 3: t_ms goes backwards"],
  ];
  for (const [text, expected] of cases) {
    assertStringIncludes(assertThrows(() => parseTrace(text)).message, expected);
  }
});

Deno.test("counted sessions show their watched time and have their number of stalls", () => {
  const csv = "session_id,title_id,watched_s,buffering_events\r\na,t-1,10.001,2\r\nb,t_2,5,0\r\n";
  const sessions = parseSessions(csv);
  assertEquals(sessions, [
    { titleId: "t-1", watchedMs: 10_001, stalls: 2 },
    { titleId: "t_2", watchedMs: 5_000, stalls: 0 },
  ]);
  const [session] = sessions;
  assertExists(session);
  const segments = sessionSegments(session);
  assertEquals(shown(segments), 10_001);
  assertEquals(segments.filter(({ state }) => state === "rebuffering").length, 2);
  const wrong = csv.replace("10.001", "-3");
  assertStringIncludes(assertThrows(() => parseSessions(wrong)).message, "line 2: watched_s");
});

Deno.test("a replay sends the recording for every viewer; clocks and stalls are those of the run", () => {
  const good = calmTrace("good");
  const recordings = {
    traces: [stallingTrace("bad"), good],
    sessions: parseSessions("title_id,watched_s,buffering_events\nx,100.5,3\nx,20.25,0\n"),
  };
  /** Stalled time of each session in real time. */
  const recorded = new Map<string, number>();
  for (const acceleration of [1, 10, 200]) {
    const stalled = new Map<string, number>();
    const replay = new Replay(recordings, optionsOf({ acceleration, viewers: 7 }));
    const truth = new Truth(120_000);
    let last = 0;
    for (const { sends } of replay.ticks()) {
      for (const send of sends) {
        assert(send.sendAtMs >= last && send.sendAtMs <= replay.durationMs);
        last = send.sendAtMs;
        truth.record(send, "acknowledged", send.sendAtMs);
        const judgement = judge(send.bytes);
        assert(judgement.ok);
        const { session_id, ts, rebuffer_ms } = judgement.heartbeat;
        const ageMs = START_MS + send.sendAtMs - ts;
        assert(ageMs >= 0 && ageMs <= 1, `${ageMs} ms before its receipt`);
        stalled.set(session_id, (stalled.get(session_id) ?? 0) + rebuffer_ms);
      }
    }
    for (const [session, ms] of stalled) {
      if (acceleration === 1) recorded.set(session, ms);
      assertEquals(ms, Math.floor((recorded.get(session) ?? 0) / acceleration), session);
    }
    const sent = [...truth.report().titles].map(([title, { ms }]) => [title, ms] as const);
    assertEquals(new Map(sent), new Map(replay.recordedMs));
    assertEquals(replay.recordedMs.get("yt-x"), 120_750);
    assertEquals(replay.recordedMs.get("trace-good"), 7 * watchedOf(good));
  }
});

Deno.test("a stall with enough viewers must alert; titles without stalls or with few viewers must not", () => {
  const expected = (trace: PlaybackTrace, viewers: number) => {
    const recordings = { traces: [trace], sessions: [] };
    const replay = new Replay(recordings, optionsOf({ viewers, acceleration: 2 }));
    const [expectation] = replay.expectations;
    assertExists(expectation);
    return expectation;
  };
  const must = expected(stallingTrace("bad"), 60);
  assertEquals(must.alert, "must");
  // The first viewer stalls 60 s into its recording; the run is twice as fast.
  assertExists(must.sinceMs);
  assertExists(must.evidentMs);
  assert(must.sinceMs >= 30_000 && must.sinceMs <= 35_000, `since ${must.sinceMs}`);
  assert(must.evidentMs > must.sinceMs);
  assertEquals(expected(stallingTrace("bad"), 1).alert, "must_not");
  assertEquals(expected(stallingTrace("bad"), 4).alert, "either");
  assertEquals(expected(calmTrace("good"), 60).alert, "must_not");
});

Deno.test("a recording that may have ended or stalled is not judged", () => {
  const still = [...Array(40).keys()].map((s) => ({
    tMs: (181 + s) * 1000,
    positionMs: 180_000,
    bufferMs: 0,
  }));
  const playing = played(0, 0, 180).map((sample) => ({
    ...sample,
    bufferMs: 180_000 - sample.positionMs,
  }));
  const first: PlaybackSample = { tMs: 0, positionMs: 0, bufferMs: 180_000, event: "playing" };
  const trace = aTrace([first, ...playing, ...still]);
  const replay = new Replay({ traces: [trace], sessions: [] }, optionsOf({ viewers: 60 }));
  const [expected] = replay.expectations;
  assertExists(expected);
  assertEquals(expected.alert, "either");
  assertStringIncludes(expected.why ?? "", "end of content");
});

Deno.test("the valid files of a folder are read, and each invalid file gives one line", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/traces`);
    const good = ['{"trace":"a"}', ...calmTrace("a").samples.map(lineOf)].join("\n");
    await Deno.writeTextFile(`${folder}/traces/1.ndjson`, good);
    await Deno.writeTextFile(`${folder}/traces/2.ndjson`, good);
    await Deno.writeTextFile(`${folder}/traces/3.ndjson`, '{"trace":"b"}\nnonsense\n');
    await Deno.writeFile(`${folder}/sessions.csv.gz`, new Uint8Array([1, 2, 3]));
    const { recordings, problems } = await readRecordings(folder);
    assertEquals(recordings.traces.map(({ name }) => name), ["a"]);
    assertEquals(problems.map((line) => line.replace(folder, "").slice(0, 40)), [
      "/traces/2.ndjson: line 1: trace a is in ",
      "/traces/3.ndjson: line 2: this is not JS",
      "/sessions.csv.gz: line 1: this is not a ",
    ]);
    const sessions = "title_id,watched_s,buffering_events\nt,1,0\n";
    const gzip = new Blob([sessions]).stream().pipeThrough(new CompressionStream("gzip"));
    await Deno.writeFile(`${folder}/sessions.csv.gz`, gzip);
    assertEquals((await readRecordings(folder)).recordings.sessions.length, 1);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

function optionsOf(changes: Partial<ReplayOptions>): ReplayOptions {
  return { ...DEFAULT_REPLAY, seed: 1, startEpochMs: START_MS, spreadMs: 20_000, ...changes };
}

function replaySends(
  recordings: ConstructorParameters<typeof Replay>[0],
  changes: Partial<ReplayOptions>,
): Send[] {
  return [...new Replay(recordings, optionsOf(changes)).ticks()].flatMap(({ sends }) => sends);
}

function aTrace(samples: readonly PlaybackSample[], name = "x"): PlaybackTrace {
  return { name, samples };
}

/** One sample a second of undisturbed playing. */
function played(fromMs: number, positionMs: number, seconds: number): PlaybackSample[] {
  return Array.from({ length: seconds }, (_, i) => ({
    tMs: fromMs + (i + 1) * 1000,
    positionMs: positionMs + (i + 1) * 1000,
    bufferMs: 20_000,
  }));
}

function calmTrace(name: string): PlaybackTrace {
  return aTrace([
    { tMs: 0, positionMs: 0, bufferMs: 0, event: "buffering" },
    { tMs: 1_500, positionMs: 7, bufferMs: 4_000, event: "playing" },
    ...played(1_500, 7, 300),
  ], name);
}

function stallingTrace(name: string): PlaybackTrace {
  const stall = [...Array(40).keys()].map((s): PlaybackSample => ({
    tMs: (61 + s) * 1000,
    positionMs: 60_000,
    bufferMs: 50,
    event: s === 0 ? "buffering" : undefined,
  }));
  return aTrace([
    { tMs: 0, positionMs: 0, bufferMs: 2_000, event: "playing" },
    ...played(0, 0, 60),
    ...stall,
    { tMs: 101_000, positionMs: 60_000, bufferMs: 9_000, event: "playing" },
    ...played(101_000, 60_000, 120),
  ], name);
}

/** Playing, stalls, pauses, corrections of the position and uneven sampling; no seeks. */
function randomTrace(random: Random): PlaybackTrace {
  const samples: PlaybackSample[] = [{ tMs: 0, positionMs: 0, bufferMs: 0, event: "buffering" }];
  let [tMs, positionMs] = [0, 0];
  for (let i = 0; i < random.int(2, 150); i++) {
    const wallMs = random.chance(0.05) ? random.int(5_000, 40_000) : random.int(50, 1_100);
    tMs += wallMs;
    const kind = random.next();
    if (kind < 0.7) positionMs += random.int(Math.floor(wallMs * 0.97), Math.ceil(wallMs * 1.03));
    else if (kind < 0.8) positionMs += random.int(0, wallMs);
    const correctionMs = random.chance(0.03) ? random.int(0, 150) : 0;
    const event = random.chance(0.15)
      ? random.pick(["buffering", "playing", "paused"] as const)
      : undefined;
    const seenMs = Math.max(0, positionMs - correctionMs);
    samples.push({ tMs, positionMs: seenMs, bufferMs: random.int(0, 20_000), event });
  }
  samples.push({ tMs: tMs + 1_000, positionMs: positionMs + 1_000, bufferMs: 0 });
  return aTrace(samples);
}

/** Segments as text, neighbours of one state joined. */
function merged(segments: readonly Segment[]): string[] {
  const out: { state: string; ms: number }[] = [];
  for (const { state, ms } of segments) {
    const last = out.at(-1);
    if (last?.state === state) last.ms += ms;
    else if (ms > 0) out.push({ state, ms });
  }
  return out.map(({ state, ms }) => `${state} ${ms}`);
}

function shown(segments: readonly Segment[]): number {
  return segments.reduce((sum, { playedMs }) => sum + playedMs, 0);
}

function lineOf({ tMs, positionMs, bufferMs, event }: PlaybackSample): string {
  return JSON.stringify({
    t_ms: tMs,
    position_s: positionMs / 1000,
    buffer_s: bufferMs / 1000,
    event,
  });
}
