import { assert, assertEquals } from "@std/assert";
import { Metrics } from "../shared/process/metrics.ts";
import { aHeartbeat } from "../shared/dev/testing/heartbeats.ts";
import { Random } from "../shared/dev/testing/random.ts";
import { MAX_REGIONS, MAX_TITLES, registerAudienceMetrics } from "./audience_metrics.ts";
import { Detector } from "./detect/detector.ts";

const START_MS = 1_795_000_000_000;

/** A detector with metrics, in simulated time. */
class Rig {
  readonly metrics = new Metrics();
  readonly detector = new Detector({ maxSessions: 20_000, limits: { cells: 60_000 } });
  nowMs = START_MS;
  readonly #random = new Random(1);
  #sessions = 0;

  constructor() {
    registerAudienceMetrics(this.metrics, {
      detector: () => this.detector,
      decidedMs: () => this.nowMs,
      monotonicMs: () => this.nowMs,
    });
  }

  /** Adds viewers, of whom the first `stalled` rebuffer. */
  add(viewers: number, title_id: string, region: string, stalled = 0): void {
    for (let i = 0; i < viewers; i++) {
      const isStalled = i < stalled;
      this.detector.heartbeat(
        aHeartbeat(this.#random, this.nowMs, {
          session_id: `s${this.#sessions++}`,
          seq: 100,
          title_id,
          region,
          ts: this.nowMs,
          interval_ms: 10_000,
          state: isStalled ? "rebuffering" : "playing",
          played_ms: isStalled ? 4_000 : 10_000,
          rebuffer_ms: isStalled ? 6_000 : 0,
        }),
        this.nowMs,
      );
    }
  }

  /** Lets time pass. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.detector.tick(this.nowMs);
  }

  /** The samples of `name`, by label. */
  async samples(name: string): Promise<Map<string, number>> {
    const lines = (await this.metrics.render()).split("\n");
    const found = lines.flatMap((line) => {
      const match = /^(\w+)\{\w+="((?:[^"\\]|\\["\\n])*)"\} (\S+)$/.exec(line);
      if (line.startsWith(`${name}{`)) assert(match, `${line} is no sample`);
      return match?.[1] === name ? [[match[2] ?? "", Number(match[3])] as const] : [];
    });
    assertEquals(new Set(found.map(([label]) => label)).size, found.length, "labels are unique");
    return new Map(found);
  }
}

Deno.test("regions have their viewers, impaired viewers, ratios and baseline", async () => {
  const rig = new Rig();
  rig.add(30, "a", "de", 6);
  rig.add(10, "b", "br");
  rig.pass(1_000);
  assertEquals([...await rig.samples("twofold_live_viewers")], [["de", 30], ["br", 10]]);
  assertEquals([...await rig.samples("twofold_live_impaired_viewers")], [["de", 6], ["br", 0]]);
  assertEquals([...await rig.samples("twofold_live_impaired_ratio")], [["de", 0.2], ["br", 0]]);
  assertEquals((await rig.samples("twofold_live_baseline_ratio")).size, 2);
  const ratio = (await rig.samples("twofold_live_rebuffer_ratio")).get("de") ?? 0;
  const expected = 6 * 6_000 / (30 * 10_000);
  assert(Math.abs(ratio - expected) < 0.01, `${ratio} is about ${expected}`);
});

Deno.test("at most fifty regions have labels, and the sum of all is kept", async () => {
  const rig = new Rig();
  for (let i = 0; i < 80; i++) rig.add(80 - i, "a", `r${i}`);
  rig.pass(1_000);
  const viewers = await rig.samples("twofold_live_viewers");
  assertEquals(viewers.size, MAX_REGIONS + 1);
  assertEquals(viewers.get("other"), 30 * 31 / 2);
  assertEquals([...viewers.values()].reduce((a, b) => a + b), 80 * 81 / 2);
});

Deno.test("hostile titles give valid text, and never more labels than there are places", async () => {
  const rig = new Rig();
  const hostile = [
    '"} 1\n# TYPE x',
    "\\",
    "a\nb",
    "\ud800",
    "\udc00",
    "\u202e",
    "x".repeat(64),
    "_other",
  ];
  for (const title of hostile) rig.add(5, title, "de");
  for (let i = 0; i < 100; i++) rig.add(2, `t${i}`, "de");
  rig.pass(1_000);
  const titles = await rig.samples("twofold_live_title_viewers");
  assertEquals(titles.size, MAX_TITLES);
  assert(!titles.has("_other"), "what has no name is no title");
  assertEquals(
    new TextDecoder().decode(new TextEncoder().encode([...titles.keys()].join())),
    [...titles.keys()].join(),
  );
});

Deno.test("titles that come and go change at most one label a minute", async () => {
  const rig = new Rig();
  for (let i = 0; i < MAX_TITLES; i++) rig.add(10, `t${i}`, "de");
  rig.pass(1_000);
  const seen = new Set((await rig.samples("twofold_live_title_viewers")).keys());
  assertEquals(seen.size, MAX_TITLES);
  for (let second = 0; second < 600; second += 15) {
    // Titles that grow beyond all others, new ones at every scrape.
    for (let i = 0; i < 5; i++) rig.add(20 + second / 15, `new-${second}-${i}`, "de");
    rig.pass(15_000);
    for (const title of (await rig.samples("twofold_live_title_viewers")).keys()) seen.add(title);
  }
  assert(seen.size <= MAX_TITLES + 11, `${seen.size} labels in ten minutes`);
  assert(seen.size > MAX_TITLES, "the list follows");
});

Deno.test("a title without viewers leaves", async () => {
  const rig = new Rig();
  rig.add(10, "over", "de");
  rig.pass(1_000);
  assertEquals([...(await rig.samples("twofold_live_title_viewers")).keys()], ["over"]);
  for (let i = 0; i < 12; i++) rig.pass(10_000);
  assertEquals((await rig.samples("twofold_live_title_viewers")).size, 0);
  assertEquals((await rig.samples("twofold_live_viewers")).size, 0);
});
