import { assertEquals } from "@std/assert";
import { propertyRandom, type Random } from "../../dev/testing/random.ts";
import type { Effect, Scope, WorldFault } from "../worlds/fault.ts";
import { contenders } from "./contenders.ts";
import { LIVE } from "./report.ts";
import { MINUTE_MS, SMALL } from "./scenarios.ts";
import { runTrial, type Trial } from "./trial.ts";

const WORLDS = 10;
const FROM_MS = 4 * MINUTE_MS;
const SCOPES: readonly Scope[] = [
  { region: "r00" },
  { region: "r03" },
  { cdn: "cdn-c" },
  { title: "tested" },
  { title: "title-0" },
  { build: "7.4.2" },
  { build: "6.0.0" },
  { region: "r01", isp: "isp-1-r01" },
  {},
];

/** A fault of any kind, and five minutes of health after it. */
function trialOf(random: Random): Trial {
  const ratio = random.pick([0.15, 0.4, 1]);
  const effect: Effect = ratio < 1 ? { what: "stall", ratio } : { what: "freeze" };
  const fault: WorldFault = {
    fromMs: FROM_MS,
    untilMs: FROM_MS + random.int(60, 240) * 1_000,
    scope: random.pick(SCOPES),
    share: random.pick([0.3, 0.7, 1]),
    effect,
    fallMs: random.pick([0, 0, 60_000]),
    ...(random.chance(0.3) ? { patienceMs: MINUTE_MS } : {}),
  };
  return {
    world: {
      seed: random.int(1, 1e9),
      population: SMALL,
      groups: [{ viewers: 2_000 }, { title: "tested", region: "r05", viewers: 200 }],
      faults: [fault],
    },
    truths: [],
    warmMs: FROM_MS,
    untilMs: fault.untilMs + 5 * MINUTE_MS,
  };
}

Deno.test("what led to a page does not page again in the five minutes after it ended", () => {
  const random = propertyRandom("aftermath");
  const pages: string[] = [];
  for (let world = 0; world < WORLDS; world++) {
    const trial = trialOf(random);
    const [fault] = trial.world.faults;
    const opens = runTrial(trial, contenders([LIVE])).heard.get(LIVE)?.decisions
      .filter(({ finding }) => finding.change === "open") ?? [];
    const again = opens.slice(1).filter(({ atMs }) => atMs > (fault?.untilMs ?? 0));
    for (const { atMs, finding: { cell, signal } } of again) {
      const afterS = (atMs - (fault?.untilMs ?? 0)) / 1_000;
      pages.push(JSON.stringify({ world, seed: trial.world.seed, fault, afterS, signal, cell }));
    }
  }
  assertEquals(pages, []);
});
