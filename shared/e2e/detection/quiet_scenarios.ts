/**
 * Healthy scenarios that look faulty, and faults shorter than 20 s.
 *
 * @module
 */
import { LONG_STALLS } from "../worlds/calibration.ts";
import {
  type DetectionScenario,
  faultOf,
  LARGE,
  MINUTE_MS,
  SMALL,
  stalls,
  trialOf,
} from "./scenarios.ts";
import type { LabelledTruth, Trial } from "./trial.ts";
import type { Heartbeat } from "../../contract/event.ts";
import type { AudienceGroup } from "../worlds/world.ts";

const HOUR_MS = 60 * MINUTE_MS;
/** The tested minutes of a quiet scenario. */
const LASTS_MS = 30 * MINUTE_MS;
const WARM_MS = 12 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

function quiet(world: Omit<Trial["world"], "faults">, warmMs = WARM_MS, lastsMs = LASTS_MS): Trial {
  return trialOf({ ...world, faults: [] }, { warmMs, afterMs: lastsMs, truths: [] });
}

/** A share of the audience that goes up and down between `low` and 1 in `periodMs`. */
function swing(low: number, periodMs: number) {
  return (atMs: number) => low + (1 - low) * (0.5 + 0.5 * Math.cos(2 * Math.PI * atMs / periodMs));
}

const KINDS: readonly Omit<DetectionScenario, "part" | "worlds">[] = [
  {
    name: "premiere",
    about: "a title goes from 400 to 2,000 viewers within 3 minutes",
    trial: (seed) =>
      quiet({
        seed,
        population: SMALL,
        groups: [{ viewers: 3_000 }, {
          title: "premiere",
          viewers: 2_000,
          activeShare: (atMs) =>
            Math.min(1, 0.2 + 0.8 * Math.max(0, atMs - 20 * MINUTE_MS) / (3 * MINUTE_MS)),
        }],
      }),
  },
  {
    name: "programme-ends",
    about: "2,000 viewers of one title leave within 15 s, three in ten without saying so",
    trial: (seed) => programmeEnds(seed, {}),
  },
  {
    name: "local-programme-ends",
    about: "as programme-ends, of a title that is most of what its region watches",
    trial: (seed) => programmeEnds(seed, { region: "r03" }),
  },
  {
    name: "premiere-starts",
    about: "2,000 viewers of one title come within 20 s",
    trial: (seed) =>
      quiet({
        seed,
        population: SMALL,
        groups: [{ viewers: 3_000 }, {
          title: "premiere",
          viewers: 2_000,
          activeShare: (atMs) => Math.min(1, Math.max(0, atMs - ENDS_MS) / 20_000),
        }],
      }),
  },
  {
    name: "diurnal",
    about: "the audience shrinks to a fifth and comes back in two hours, stalls with it by 3",
    trial: (seed) => {
      const share = swing(0.2, 2 * HOUR_MS);
      return quiet(
        {
          seed,
          population: SMALL,
          groups: [{ viewers: 6_000, activeShare: share }],
          stallFactor: (atMs) => 1 + 2 * share(atMs),
        },
        WARM_MS,
        2 * HOUR_MS,
      );
    },
  },
  {
    name: "chronic",
    about: "a region that always stalls 5 %, after an hour",
    trial: (seed) =>
      quiet(
        { seed, population: { ...SMALL, chronic: { r00: 0.05 } }, groups: [{ viewers: 4_000 }] },
        HOUR_MS,
        HOUR_MS,
      ),
  },
  {
    name: "late-uploads",
    about: "devices hold their heartbeats for minutes and send them at once; others are lost",
    trial: (seed) =>
      quiet({
        seed,
        population: { ...SMALL, chronic: { r00: 0.02 } },
        groups: [{ viewers: 4_000 }],
        lossShare: 0.1,
        offlineShare: 0.01,
      }),
  },
  {
    name: "mixed-intervals",
    about: "devices that report every 5 s, every 30 s and every 60 s, one region at 2 %",
    trial: (seed) =>
      quiet({
        seed,
        population: { ...SMALL, chronic: { r00: 0.02 } },
        groups: [5_000, 30_000, 60_000].map((intervalMs) => ({ viewers: 1_500, intervalMs })),
      }),
  },
  {
    name: "outage-of-the-past",
    about: "200 devices upload an hour-old outage of their title at once",
    trial: (seed) =>
      quiet({
        seed,
        population: SMALL,
        groups: [{ viewers: 3_000 }, { title: "past", region: "r03", viewers: 200 }],
        extra: (atMs) => (atMs === 20 * MINUTE_MS ? uploads(atMs) : []),
      }),
  },
  {
    name: "uploads-after",
    about: "a title of 200 freezes and is not heard for 4 minutes, then uploads everything",
    trial: (seed) => {
      const scope = { title: "tested" };
      const fault = faultOf(scope, { what: "offline" }, { lastsMs: 4 * MINUTE_MS });
      const { fromMs, untilMs } = fault;
      return trialOf({
        seed,
        population: SMALL,
        groups: [{ viewers: 3_000 }, { title: "tested", region: "r03", viewers: 200 }],
        faults: [fault],
      }, {
        truths: [{
          fromMs,
          untilMs: untilMs + MINUTE_MS,
          scope,
          signals: ["silent"],
          isOptional: true,
        }],
      });
    },
  },
  {
    name: "long-intervals",
    about: "three devices report 600 s at once, mostly stalled, on 10 titles of 200",
    trial: (seed) =>
      quiet({
        seed,
        population: SMALL,
        groups: [
          { viewers: 1_500 },
          ...Array.from({ length: 10 }, (_, i) => ({
            title: `tested-${i}`,
            region: `r0${i}`,
            viewers: 200,
          })),
        ],
        extra: (atMs) => atMs % (4 * MINUTE_MS) === 0 && atMs > WARM_MS ? longIntervals(atMs) : [],
      }),
  },
  {
    name: "blip-of-a-title",
    about: "a title of 200 viewers freezes for 20 s",
    trial: (seed) => blip(seed, { title: "tested" }),
  },
  {
    name: "blip-of-a-region",
    about: "a region freezes for 20 s",
    trial: (seed) => blip(seed, { region: "r03" }),
  },
];

/** When a programme of a scenario ends, or begins. */
const ENDS_MS = 20 * MINUTE_MS;

function programmeEnds(seed: number, group: Partial<AudienceGroup>): Trial {
  const leave = { what: "leave", withinMs: 15_000 } as const;
  const untilMs = ENDS_MS + 2_000;
  return trialOf({
    seed,
    population: SMALL,
    groups: [{ viewers: 3_000 }, {
      title: "programme",
      viewers: 2_000,
      activeShare: (atMs) => (atMs < ENDS_MS ? 1 : 0),
      ...group,
    }],
    faults: [{ fromMs: ENDS_MS, untilMs, scope: { title: "programme" }, share: 1, effect: leave }],
  }, { truths: [], afterMs: LASTS_MS });
}

function blip(seed: number, scope: LabelledTruth["scope"]): Trial {
  const fault = faultOf(scope, stalls(1), { lastsMs: 20_000 });
  return trialOf({
    seed,
    population: SMALL,
    groups: [{ viewers: 3_000 }, { title: "tested", region: "r03", viewers: 200 }],
    faults: [fault],
  }, { truths: [{ fromMs: fault.fromMs, untilMs: fault.untilMs, scope, isOptional: true }] });
}

const START_OF_DAY_MS = Date.UTC(2026, 10, 23, 12);

function stalledHeartbeat(more: Partial<Heartbeat>): Heartbeat {
  return {
    v: 1,
    event_id: "01939a1e-0000-7000-8000-000000000002",
    session_id: "late",
    device_id: "late",
    title_id: "past",
    seq: 0,
    region: "r03",
    ts: 0,
    interval_ms: 10_000,
    state: "rebuffering",
    played_ms: 0,
    rebuffer_ms: 10_000,
    rebuffer_count: 1,
    device: { model: "model-0", os: "os-1", build: "9.1.0" },
    ...more,
  };
}

/** 200 sessions, of each a minute that began an hour before `atMs`. */
function uploads(atMs: number): Heartbeat[] {
  return Array.from({ length: 1_200 }, (_, i) => {
    const [session, seq] = [Math.floor(i / 6), i % 6];
    return stalledHeartbeat({
      session_id: `late-${session}`,
      seq,
      ts: START_OF_DAY_MS + atMs - HOUR_MS + seq * 10_000,
    });
  });
}

function longIntervals(atMs: number): Heartbeat[] {
  return Array.from({ length: 30 }, (_, i) =>
    stalledHeartbeat({
      session_id: `long-${i}`,
      title_id: `tested-${i % 10}`,
      region: `r0${i % 10}`,
      seq: Math.round(atMs / 1_000),
      ts: START_OF_DAY_MS + atMs,
      interval_ms: 600_000,
      state: "playing",
      played_ms: 100_000,
      rebuffer_ms: 500_000,
      rebuffer_count: 9,
    }));
}

/** Everything that should not page. */
export const QUIET_SCENARIOS: readonly DetectionScenario[] = KINDS.map((each) => ({
  ...each,
  part: "quiet",
  worlds: 1,
}));

/** The worlds of the healthy run, by how unequal their health is. */
export const HEALTHY_WORLDS = ["puffer", "unequal"] as const;

/** Time of a healthy run before its pages count. */
const HEALTHY_WARM_MS = 20 * MINUTE_MS;

/** The healthy run: `hours` of the whole catalogue, with a day's swing of audience and stalls. */
export function healthyTrial(
  health: typeof HEALTHY_WORLDS[number],
  hours: number,
  viewers: number,
): Trial {
  const share = swing(0.4, DAY_MS);
  return quiet(
    {
      seed: 1,
      population: { ...LARGE, health },
      groups: [{ viewers, activeShare: share }],
      stallFactor: (atMs) => 0.6 + 0.8 * share(atMs),
      ...(health === "unequal" ? { stalls: LONG_STALLS } : {}),
    },
    HEALTHY_WARM_MS,
    hours * HOUR_MS,
  );
}

/** The size of the catalogue of the healthy run, titles × regions. */
export const HEALTHY_KEYS = LARGE.titles * LARGE.regions;
