/** Outages of the pipeline are not silence of its viewers, and silence is found all the same. */
import { assert, assertEquals } from "@std/assert";
import { propertyRandom, type Random } from "../../shared/dev/testing/random.ts";
import type { WatchedHeartbeat } from "../watch/sessions.ts";
import { Scene } from "./detector_scene_test.ts";

const LIMITS = { cells: 2_000, title: 500, build: 50, isp: 50, model: 50 };
const RUNS = 100;
/** Viewers of a title are too few to be missed with less. */
const MIN_GONE = 60;
/** After it the detector has learned what is usual. */
const LEARNED_S = 125;
/** From the first heartbeat that does not come: it is overdue after 18 s. */
const MAX_TO_FIND_S = 21;

/** Something between the devices and live that is out. Times are ms since the epoch. */
interface Outage {
  readonly fromMs: number;
  readonly toMs: number;
  /** Share of the devices that it cuts off, 0 to 1. */
  readonly share: number;
  /** After it, devices come back within so long. */
  readonly backMs: number;
}

/** 300 to 1,500 viewers of 3 regions, 3 CDNs, 4 ISPs and builds that report at their own pace. */
function audience(random: Random, slow = random.pick([10_000, 25_000])): Scene {
  const scene = new Scene(random.int(0, 1e9), { limits: LIMITS, maxSessions: 10_000 });
  scene.add(random.int(300, 1_500), (i) => {
    const intervalMs = i % 3 === 0 ? slow : 10_000;
    return {
      title: `t${Math.floor(random.next() ** 2 * 20)}`,
      region: `r${i % 7 % 3}`,
      cdn: `c${random.int(0, 2)}`,
      isp: `i${random.int(0, 3)}`,
      build: i % 3 === 0 ? "slow" : `b${i % 2}`,
      intervalMs,
      nextMs: scene.nowMs + random.next() * intervalMs,
    };
  });
  return scene;
}

/** Holds back what devices send while they are cut off; each sends it again, in order, later. */
function interrupt({ detector }: Scene, outage: Outage, random: Random): void {
  const backAtMs = new Map<string, number>();
  const waiting: { readonly atMs: number; readonly heartbeat: WatchedHeartbeat }[] = [];
  const send = detector.heartbeat.bind(detector);
  const tick = detector.tick.bind(detector);
  detector.heartbeat = (heartbeat, atMs) => {
    const id = heartbeat.session_id;
    if (!backAtMs.has(id)) {
      const backMs = outage.toMs + random.next() * outage.backMs;
      backAtMs.set(id, random.chance(outage.share) ? backMs : 0);
    }
    const isCut = atMs >= outage.fromMs && atMs < (backAtMs.get(id) ?? 0);
    if (!isCut) send(heartbeat, atMs);
    else waiting.push({ atMs: (backAtMs.get(id) ?? 0) + waiting.length % 50, heartbeat });
  };
  detector.tick = (nowMs) => {
    const due = waiting.filter(({ atMs }) => atMs < nowMs).sort((a, b) => a.atMs - b.atMs);
    for (const each of due) {
      waiting.splice(waiting.indexOf(each), 1);
      send(each.heartbeat, Math.round(each.atMs));
    }
    return tick(nowMs);
  };
}

function anOutage(fromMs: number, random: Random): Outage {
  return {
    fromMs,
    toMs: fromMs + random.int(2_000, 45_000),
    share: random.chance(0.5) ? 1 : 0.2 + 0.8 * random.next(),
    backMs: random.int(2_000, 12_000),
  };
}

Deno.test("an outage of the pipeline is no silence of its viewers, however they come back", () => {
  const random = propertyRandom("outage");
  const opened: string[] = [];
  for (let run = 0; run < RUNS; run++) {
    const scene = audience(random);
    scene.run(random.int(60, 200));
    for (let outages = random.int(1, 2); outages > 0; outages--) {
      const outage = anOutage(scene.nowMs, random);
      interrupt(scene, outage, random);
      scene.run(random.int(60, 100));
      if (scene.list("open").length === 0) continue;
      opened.push(`run ${run}: ${JSON.stringify(outage)}: ${scene.list("open")}`);
    }
  }
  // Of about 3,000 such outages one opened a ticket: those that cut off a part of the devices only.
  assert(opened.length <= 1, opened.join("\n"));
  assert(opened.every((each) => !each.includes('"share":1,')), opened.join("\n"));
});

Deno.test("players that were starting when the pipeline went out do not fail to start", () => {
  const random = propertyRandom("starting");
  for (let run = 0; run < RUNS / 10; run++) {
    const scene = audience(random);
    const join = () =>
      scene.add(5, () => ({
        region: "r0",
        seq: 0,
        nextMs: scene.nowMs,
        intervalMs: 5_000,
        behave: (_, { seq }) => (seq === 0 ? { state: "starting", played_ms: 0 } : undefined),
      }));
    scene.run(100, join);
    interrupt(scene, { ...anOutage(scene.nowMs, random), share: 1 }, random);
    scene.run(100, join);
    assertEquals(scene.list("open"), [], `run ${run}`);
  }
});

Deno.test("a title, region, CDN or build that falls silent is found as fast as without outages", () => {
  const random = propertyRandom("silence");
  for (let run = 0; run < RUNS; run++) {
    const scene = audience(random, 10_000);
    scene.run(random.int(LEARNED_S, 200));
    if (random.chance(0.5)) {
      interrupt(scene, { ...anOutage(scene.nowMs, random), share: 1 }, random);
      scene.run(100);
    }
    const by = random.pick(["title", "region", "cdn", "build"] as const);
    const common = scene.viewers.filter((each) => countOf(scene, by, each[by]) >= MIN_GONE);
    const value = random.pick(common)[by];
    for (const viewer of common) if (viewer[by] === value) viewer.behave = () => "silent";
    const fromS = scene.second;
    while (scene.list("open").length === 0 && scene.second < fromS + 60) scene.run(1);
    const what = `run ${run}: ${by} ${value} took ${scene.second - fromS} s`;
    assert(scene.second - fromS <= MAX_TO_FIND_S, what);
    assert(scene.list("open")[0]?.includes(" silent "), what);
  }
});

function countOf({ viewers }: Scene, by: "title" | "region" | "cdn" | "build", value: string) {
  return viewers.filter((each) => each[by] === value).length;
}

Deno.test("silence of nearly everybody is told once it lasts longer than an outage may", () => {
  const scene = audience(propertyRandom("nearly everybody"));
  scene.run(200);
  for (const viewer of scene.viewers.slice(20)) viewer.behave = () => "silent";
  scene.run(70);
  assertEquals(scene.list("open"), []);
  scene.run(50);
  assertEquals(scene.list("open").map((text) => text.replace(/^\d+ /, "")), ["silent all"]);
});

Deno.test("after hours without any heartbeat others watch, and nobody has fallen silent", () => {
  const random = propertyRandom("hours");
  for (const hours of [0.05, 0.5, 5]) {
    const scene = audience(random);
    scene.run(200);
    const before = scene.viewers.splice(0);
    scene.run(hours * 3_600);
    assertEquals(scene.detector.sessions.watching, 0);
    // A part of those who were there is there still.
    for (const viewer of before.slice(0, 100)) {
      scene.viewers.push({ ...viewer, nextMs: scene.nowMs + random.next() * 10_000 });
    }
    scene.add(400, (i) => ({ id: `new${i}`, region: `r${i % 3}`, cdn: `c${i % 2}` }));
    scene.run(200);
    assertEquals(scene.findings, [], `${hours} h`);
    assertEquals(scene.detector.sessions.watching, 500);
  }
});
