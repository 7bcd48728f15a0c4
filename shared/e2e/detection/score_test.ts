import { assert, assertEquals } from "@std/assert";
import type { Finding, Measurement } from "../../../live/detect/finding.ts";
import type { CellName } from "../../../live/watch/cells.ts";
import { healthyResult, resultOf } from "./results.ts";
import { poissonUpper95, quantile, scoreOf } from "./score.ts";
import type { Decided, Trial } from "./trial.ts";
import { SMALL, trialOf } from "./scenarios.ts";

const NOTHING: Measurement = {
  watching: 0,
  impaired: 0,
  spanMs: 10_000,
  share: 0,
  baseline: 0,
  bound: 0,
  rebufferMs: 0,
  playedMs: 0,
};
const REGION: CellName = { kind: "region", region: "r00" };

function decided(atMs: number, change: Finding["change"], cell: CellName): Decided {
  const finding: Finding = {
    change,
    signal: "rebuffer",
    cell,
    atMs,
    onsetMs: atMs,
    receivedAtMs: atMs,
    now: NOTHING,
    peak: NOTHING,
    evidence: 0,
    worst: [],
    folded: 0,
    ...(change === "resolve" ? { why: "recovered" as const } : {}),
  };
  return { atMs, finding };
}

function trial(truths: Trial["truths"]): Trial {
  return trialOf({ seed: 1, population: SMALL, faults: [] }, { warmMs: 1_000, truths });
}

const OUTAGE = { fromMs: 10_000, untilMs: 60_000, scope: { region: "r00" } };

Deno.test("a page about the people that are hit is right; others, earlier and later ones are not", () => {
  const score = scoreOf(trial([OUTAGE]), {
    decisions: [
      decided(500, "open", REGION),
      decided(5_000, "open", REGION),
      decided(15_000, "open", REGION),
      decided(16_000, "open", { kind: "region", region: "r01" }),
      decided(17_000, "open", { kind: "title", title: "title-1" }),
      decided(300_000, "open", REGION),
    ],
  });
  assertEquals(score.coldPages, 1);
  assertEquals(score.falsePages.map(({ atMs }) => atMs), [5_000, 16_000, 300_000]);
  assertEquals(score.truePages, 2);
  assertEquals(score.found.map(({ openMs, pages, isNamed }) => ({ openMs, pages, isNamed })), [
    { openMs: 5_000, pages: 2, isNamed: true },
  ]);
});

Deno.test("an incident is closed when everything about it is; recovery during it is told apart", () => {
  const title: CellName = { kind: "title", title: "title-1" };
  const decisions = [
    decided(12_000, "open", title),
    decided(13_000, "open", REGION),
    decided(20_000, "resolve", title),
    decided(95_000, "resolve", REGION),
  ];
  const [found] = scoreOf(trial([OUTAGE]), { decisions }).found;
  assertEquals([found?.closeMs, found?.falseRecoveries], [35_000, 1]);
  const [left] = scoreOf(trial([OUTAGE]), { decisions: decisions.slice(0, 3) }).found;
  assertEquals(left?.closeMs, undefined);
});

Deno.test("what may page and need not is no incident to find, and no false page", () => {
  const score = scoreOf(trial([{ ...OUTAGE, isOptional: true }]), {
    decisions: [decided(20_000, "open", REGION)],
  });
  const result = resultOf(new Map([[1, score]]));
  assertEquals([result.incidents, result.falsePages, result.optionalPages], [0, 0, 1]);
});

Deno.test("Garwood's bounds of a Poisson mean", () => {
  // Table of F. Garwood, 1936: the upper 95 % bounds (one-sided) of 0, 1, 10 and 100 events.
  for (const [count, bound] of [[0, 2.996], [1, 4.744], [10, 16.962], [100, 118.08]] as const) {
    const found = poissonUpper95(count);
    assert(Math.abs(found - bound) < 0.01 * bound, `${count}: ${found}, not ${bound}`);
  }
});

Deno.test("false pages are counted per 100,000 keys and day", () => {
  const score = scoreOf(trial([]), {
    decisions: [decided(20_000, "open", REGION), decided(30_000, "open", REGION)],
  });
  const size = {
    hours: 12,
    catalogueKeys: 50_000,
    activeKeys: 10_000,
    keysOfFive: 1,
    viewers: 1,
    wallMs: 1,
  };
  const { perDay, perDayActive } = healthyResult({ world: "puffer", name: "live" }, size, score);
  assertEquals([perDay, perDayActive], [8, 40]);
});

Deno.test("quantiles are values that were measured", () => {
  assertEquals(quantile([3, 1, 2, 4], 0.5), 2);
  assertEquals(quantile([3, 1, 2, 4], 0.95), 4);
  assertEquals(quantile([], 0.5), undefined);
});
