/**
 * Scenarios in which something larger than one title is wrong, or something is wrong in another way.
 *
 * @module
 */
import type { FindingSignal } from "../../../live/detect/finding.ts";
import { namesWithin } from "./score.ts";
import { type DetectionScenario, faultOf, MINUTE_MS, SMALL, stalls, trialOf } from "./scenarios.ts";
import type { Scope, WorldFault } from "../worlds/fault.ts";
import type { LabelledTruth, Trial } from "./trial.ts";
import type { AudienceGroup } from "../worlds/world.ts";
import type { Heartbeat } from "../../contract/event.ts";

const REGION = "r02";
/** The CDN of 20 % of all sessions, an ISP of 10 % of its region, a build of 3 %. */
const CDN = "cdn-c";
const ISP = `isp-3-${REGION}`;
const BUILD = "6.0.0";
const MODEL = "model-4";
const ALL_SIGNALS: readonly FindingSignal[] = ["rebuffer", "silent", "start"];

interface Incident {
  readonly name: string;
  readonly about: string;
  readonly worlds?: number;
  readonly trial: (seed: number) => Trial;
}

/** Worlds in which `faults` begin after the warm-up. */
function single(viewers: number, faults: readonly WorldFault[], titles = SMALL.titles) {
  return (seed: number) =>
    trialOf({ seed, population: { ...SMALL, titles }, groups: [{ viewers }], faults });
}

const KINDS: readonly Incident[] = [
  {
    name: "region-of-small-titles",
    about: "a region of about 1,000 titles with 3 viewers each freezes",
    trial: (seed) =>
      trialOf({
        seed,
        population: { ...SMALL, titles: 1_000, zipf: 0.05 },
        groups: [{ viewers: 3_000 }, { region: REGION, viewers: 3_000 }],
        faults: [faultOf({ region: REGION }, stalls(1), { patienceMs: 3 * MINUTE_MS })],
      }),
  },
  {
    name: "region-40",
    about: "the largest region stalls 40 %, 5,000 titles",
    trial: single(20_000, [faultOf({ region: "r00" }, stalls(0.4))], 5_000),
  },
  {
    name: "region-8",
    about: "a region stalls 8 %, 5,000 titles",
    trial: single(20_000, [faultOf({ region: "r00" }, stalls(0.08))], 5_000),
  },
  {
    name: "region-ramp",
    about: "a region goes from 0 to 40 % in 10 minutes",
    trial: single(6_000, [
      faultOf({ region: REGION }, stalls(0.4), {
        rampMs: 10 * MINUTE_MS,
        lastsMs: 15 * MINUTE_MS,
      }),
    ]),
  },
  {
    name: "title-ramp",
    about: "a title of 200 viewers goes from 0 to 40 % in 5 minutes",
    trial: (seed) => {
      const scope = { title: "tested" };
      const faults = [
        faultOf(scope, stalls(0.4), { rampMs: 5 * MINUTE_MS, lastsMs: 8 * MINUTE_MS }),
      ];
      return trialOf({
        seed,
        population: SMALL,
        groups: [{ viewers: 3_000 }, { title: "tested", region: REGION, viewers: 200 }],
        faults,
      }, { truths: faults.map((each) => ({ ...each, names: namesWithin(scope) })) });
    },
  },
  {
    name: "cdn-20",
    about: "a CDN of 20 % of all sessions stalls 20 %",
    trial: single(10_000, [faultOf({ cdn: CDN }, stalls(0.2))]),
  },
  {
    name: "region-cdn-40",
    about: "a CDN stalls 40 % in one region",
    trial: single(8_000, [faultOf({ region: "r01", cdn: CDN }, stalls(0.4))]),
  },
  {
    name: "build-frozen",
    about: "a build of 3 % of all devices freezes",
    trial: single(10_000, [faultOf({ build: BUILD }, stalls(1))]),
  },
  {
    name: "isp-40",
    about: "an ISP of 10 % of a region stalls 40 %",
    trial: single(10_000, [faultOf({ region: REGION, isp: ISP }, stalls(0.4))]),
  },
  {
    name: "model-40",
    about: "a model of 8 % of the devices stalls 40 % in one region",
    trial: single(8_000, [faultOf({ region: "r00", model: MODEL }, stalls(0.4))]),
  },
  {
    name: "title-everywhere",
    about: "the most watched title stalls 40 % in every region",
    trial: single(10_000, [faultOf({ title: "title-0" }, stalls(0.4))], 1_000),
  },
  {
    name: "everything-15",
    about: "everyone stalls 15 %",
    trial: single(10_000, [faultOf({}, stalls(0.15))], 1_000),
  },
  {
    name: "part-frozen",
    about: "15 % of a region's sessions freeze, of every kind",
    trial: single(8_000, [faultOf({ region: "r00" }, stalls(1), { share: 0.15 })]),
  },
  {
    name: "region-and-title",
    about: "a region at 40 %, and a title in another region at 40 %, at once",
    trial: (seed) => {
      const title = { title: "tested", region: "r09" };
      const region = { region: REGION };
      const faults = [faultOf(region, stalls(0.4)), faultOf(title, stalls(0.4))];
      const named = (
        scope: Scope,
      ) => (scope === title ? { names: namesWithin({ title: "tested" }) } : {});
      return trialOf({
        seed,
        population: SMALL,
        groups: [{ viewers: 8_000 }, { ...title, viewers: 100 }],
        faults,
      }, {
        truths: faults.map(({ fromMs, untilMs, scope }) => ({
          fromMs,
          untilMs,
          scope,
          ...named(scope),
        })),
      });
    },
  },
  {
    name: "chronic-outage",
    about: "a region that always stalls 5 %, after an hour at 40 %",
    trial: (seed) =>
      trialOf({
        seed,
        population: { ...SMALL, chronic: { r00: 0.05 } },
        faults: [faultOf({ region: "r00" }, stalls(0.4), { fromMs: 65 * MINUTE_MS })],
      }, { warmMs: 60 * MINUTE_MS }),
  },
  {
    name: "region-dies",
    about: "60 % of a region freeze, then 97 % of it are not heard any more",
    trial: (seed) => {
      const scope = { region: "r01" };
      const freezes = faultOf(scope, stalls(1), { share: 0.6, lastsMs: 3 * MINUTE_MS });
      const silent = faultOf(scope, { what: "vanish" }, {
        fromMs: freezes.untilMs,
        lastsMs: 5 * MINUTE_MS,
        share: 0.97,
      });
      const truths = [{
        fromMs: freezes.fromMs,
        untilMs: silent.untilMs,
        scope,
        signals: ALL_SIGNALS,
      }];
      return trialOf({ seed, population: SMALL, faults: [freezes, silent] }, { truths });
    },
  },
  {
    name: "everyone-dies",
    about: "everyone freezes, and after a minute nobody is heard",
    trial: (seed) => {
      const freezes = faultOf({}, stalls(1), { lastsMs: MINUTE_MS });
      const silent = faultOf({}, { what: "vanish" }, { fromMs: freezes.untilMs });
      const truths = [{
        fromMs: freezes.fromMs,
        untilMs: silent.untilMs,
        scope: {},
        signals: ALL_SIGNALS,
      }];
      return trialOf({ seed, population: SMALL, faults: [freezes, silent] }, { truths });
    },
  },
  {
    name: "region-silent",
    about: "nothing is heard of a region, the others go on",
    trial: other({ region: "r00" }, "vanish", ["silent"]),
  },
  {
    name: "build-silent",
    about: "nothing is heard of a build of 12 %",
    trial: other({ build: "8.8.1" }, "vanish", ["silent"]),
  },
  {
    name: "nobody-starts",
    about: "in a region no new session shows a frame",
    trial: other({ region: "r00" }, "no_start", ["start", "rebuffer"]),
  },
  {
    name: "title-cannot-start",
    about: "of the most watched title no new session shows a frame",
    trial: other({ title: "title-0" }, "no_start", ["start", "rebuffer"]),
  },
  {
    name: "slow-clocks",
    about: "40 % on a title of 50 whose devices' clocks are two minutes slow",
    trial: skewed(-120_000),
  },
  {
    name: "fast-clocks",
    about: "40 % on a title of 50 whose devices' clocks are 90 s fast",
    trial: skewed(90_000),
  },
  {
    name: "mad-clocks",
    about: "40 % on a title of 50 whose devices' clocks are 20 years off",
    trial: skewed(-20 * 365 * 86_400_000),
  },
  {
    name: "slow-heartbeats",
    about: "40 % on a title of 50 whose devices report every 30 s",
    trial: (seed) => onTitle(seed, { intervalMs: 30_000 }, {}),
  },
  {
    name: "lossy",
    about: "40 % on a title of 50, a fifth of all heartbeats lost, others minutes late",
    trial: (seed) => onTitle(seed, {}, { lossShare: 0.2, offlineShare: 0.01 }),
  },
  {
    name: "attack-playing",
    about: "40 % on a title of 50 while 200 invented titles a second play, in a real region",
    trial: (seed) => onTitle(seed, {}, { extra: invented(200, false) }),
  },
  {
    name: "attack-stalling",
    about: "40 % on a title of 50 while 200 invented titles a second stall in invented regions",
    trial: (seed) => onTitle(seed, {}, { extra: invented(200, true) }),
  },
];

function other(
  scope: Scope,
  what: "vanish" | "no_start",
  signals: readonly FindingSignal[],
) {
  return (seed: number) => {
    const fault = faultOf(scope, { what });
    const { fromMs, untilMs } = fault;
    return trialOf({
      seed,
      population: SMALL,
      groups: [{ viewers: 8_000 }],
      faults: [fault],
    }, { truths: [{ fromMs, untilMs, scope, signals }] });
  };
}

function skewed(clockMs: number) {
  return (seed: number) => onTitle(seed, { clockMs }, {});
}

/** 40 % on a title of 50 viewers, with a twist. */
function onTitle(
  seed: number,
  group: Partial<Pick<AudienceGroup, "clockMs" | "intervalMs">>,
  world: Partial<Trial["world"]>,
): Trial {
  const scope = { title: "tested" };
  const fault = faultOf(scope, stalls(0.4), { afterMs: MINUTE_MS });
  const { fromMs, untilMs } = fault;
  const truths: LabelledTruth[] = [{ fromMs, untilMs, scope, names: namesWithin(scope) }];
  // Nobody can say that an attacker's sessions do not stall, or do not vanish.
  if (world.extra) {
    const attack = { fromMs: ATTACK_FROM_MS, untilMs: ATTACK_UNTIL_MS, scope: ATTACKED };
    truths.push({ ...attack, signals: ALL_SIGNALS, isOptional: true });
  }
  return trialOf({
    seed,
    population: SMALL,
    groups: [{ viewers: 3_000 }, { title: "tested", region: REGION, viewers: 50, ...group }],
    faults: [fault],
    ...world,
  }, { truths });
}

const ATTACKED: Scope = { build: "invented" };
const ATTACK_FROM_MS = 10 * MINUTE_MS;
const ATTACK_UNTIL_MS = 15 * MINUTE_MS;

function invented(perSecond: number, isStalling: boolean): NonNullable<Trial["world"]["extra"]> {
  let count = 0;
  return (atMs) => {
    if (atMs < ATTACK_FROM_MS || atMs >= ATTACK_UNTIL_MS) return [];
    return Array.from({ length: perSecond }, (): Heartbeat => {
      count += 1;
      return {
        v: 1,
        event_id: "01939a1e-0000-7000-8000-000000000001",
        session_id: `attack-${count}`,
        device_id: "attack",
        title_id: `invented-${count}`,
        seq: 0,
        region: isStalling ? `x${count % 5_000}` : REGION,
        ts: Date.UTC(2026, 10, 23, 12) + atMs,
        interval_ms: 10_000,
        state: isStalling ? "rebuffering" : "playing",
        played_ms: isStalling ? 0 : 10_000,
        rebuffer_ms: isStalling ? 10_000 : 0,
        rebuffer_count: isStalling ? 1 : 0,
        device: { model: "invented", os: "invented", build: "invented" },
      };
    });
  };
}

/** Everything that a detector should find, besides steps on one title. */
export const INCIDENT_SCENARIOS: readonly DetectionScenario[] = KINDS.map((each) => ({
  worlds: 1,
  ...each,
  part: "incidents",
}));
