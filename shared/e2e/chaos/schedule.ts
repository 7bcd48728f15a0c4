/**
 * What a run of chaos does, and when: the same seed gives the same schedule.
 *
 * A run is made of rounds. In each, faults begin and end, several at once, on targets that differ;
 * one of them is an outage long enough to be paged, and in every second round nothing else keeps
 * that from being told. Then a time without faults, in which everything has to become healthy. A CDN fails in a region while faults are going on, until the round ends.
 *
 * Pure. Times are ms since the start of the run.
 *
 * @module
 */
import { SERVICES } from "../../dev/servers/service_process.ts";
import { CDNS, REGIONS } from "../../dev/fleet/simulator.ts";
import { Random } from "../../dev/testing/random.ts";

/** The processes of services; the pager has one that stands by. */
export const PROCESSES = [...SERVICES, "pager-2"] as const;
/** One of {@link PROCESSES}. */
export type ProcessName = typeof PROCESSES[number];

/** What can happen to a process. */
const PROCESS_KINDS = ["kill", "restart", "freeze", "descriptors"] as const;
/** What else can happen to a server, which stores. */
const SERVER_KINDS = [...PROCESS_KINDS, "disk"] as const;
/** What else can happen to one of several NATS servers. */
const NODE_KINDS = [...SERVER_KINDS, "isolate"] as const;
/** What can happen to a link between two processes. */
const LINK_KINDS = ["cut", "half-open", "slow", "jitter", "resets"] as const;

/**
 * `kill`: SIGKILL, started again at the end. `restart`: SIGTERM, started again at the end. `freeze`:
 * SIGSTOP. `descriptors`: no further file descriptor. `disk`: it is full. `isolate`: nothing passes
 * between the server and the other ones. `cut`: connections are refused. `half-open`: bytes are lost
 * and nothing is closed. `slow`: {@link SLOW_MS} more in each direction. `jitter`: up to
 * {@link JITTER_MS} more. `resets`: connections are reset, every {@link RESET_EVERY_MS}. `full`: the
 * stream takes nothing more.
 */
export type FaultKind = typeof NODE_KINDS[number] | typeof LINK_KINDS[number] | "full";

/** Added by a slow link, ms in each direction. */
export const SLOW_MS = 150;
/** Added by an uneven link, at most, ms in each direction. */
export const JITTER_MS = 300;
/** Between two resets. */
export const RESET_EVERY_MS = 500;

/** What a fault acts on: a process, a stream, or a link, named `from→to`. */
export interface Target {
  readonly name: string;
  readonly kinds: readonly FaultKind[];
}

/** One fault. */
export interface ChaosFault {
  readonly target: string;
  readonly kind: FaultKind;
  readonly beginMs: number;
  readonly endMs: number;
}

/** A CDN that fails in one region. */
export interface ChaosIncident {
  readonly cdn: string;
  readonly region: string;
  readonly beginMs: number;
  readonly endMs: number;
}

/** A run. */
export interface ChaosSchedule {
  /** Servers of NATS. */
  readonly nodes: number;
  readonly durationMs: number;
  /** By their begin. */
  readonly faults: readonly ChaosFault[];
  readonly incidents: readonly ChaosIncident[];
  readonly closesAtMs: readonly number[];
}

/** Length of a round, ms. */
export const ROUND_MS = 45_000;
/** When the last fault of a round has ended, ms since its begin. */
const FAULTS_UNTIL_MS = 28_000;
/** Of the one fault of a round that has to be paged. */
const OUTAGE_MS = [21_000, 24_000] as const;
const SHORT_MS = [500, 6_000] as const;
/** Besides the outage. */
const SHORT_FAULTS = 7;
/** Between two faults of one target. */
const REST_MS = 1_000;
/** Without them nobody may be able to tell an outage; every second round leaves them alone. */
const TELLERS = /^(nats-|pager-2)/;
/** Rounds in which a day is closed, at most; so that no day is closed far ahead of its events. */
const MAX_CLOSES = 5;
/** The regions with the most viewers; a CDN has enough of each to be judged. */
const INCIDENT_REGIONS = REGIONS.slice(0, 3);

/** Everything that faults act on, with this many NATS servers. */
export function targetsOf(nodes: number): Target[] {
  const natsKinds = nodes === 1 ? SERVER_KINDS : NODE_KINDS;
  const links = [
    ...PROCESSES.map((name) => `${name}→nats`),
    ...["royalty→postgres", "triage→postgres", "devices→ingest"],
  ];
  return [
    ...PROCESSES.map((name) => ({ name, kinds: PROCESS_KINDS })),
    { name: "postgres", kinds: SERVER_KINDS },
    ...natsNames(nodes).map((name) => ({ name, kinds: natsKinds })),
    ...links.map((name) => ({ name, kinds: LINK_KINDS })),
    ...["HEARTBEATS", "QUARANTINE"].map((name) => ({ name, kinds: ["full"] as const })),
  ];
}

/** The names of the NATS servers. */
export function natsNames(nodes: number): string[] {
  return Array.from({ length: nodes }, (_, i) => `nats-${i}`);
}

/** What takes a target out of service. */
const STOPS: readonly FaultKind[] = ["kill", "freeze", "disk", "cut", "half-open", "full"];

/** Whether this is an outage: it stops the target, no standby goes on, and devices are not asked. */
export function isOutage(kind: FaultKind, target: string, nodes: number): boolean {
  return STOPS.includes(kind) && target !== "devices→ingest" && !target.startsWith("pager") &&
    (nodes === 1 || !target.startsWith("nats-"));
}

/** The outages that there can be, by target. */
function outagesOf(nodes: number): Target[] {
  return targetsOf(nodes)
    .map(({ name, kinds }) => ({
      name,
      kinds: kinds.filter((kind) => isOutage(kind, name, nodes)),
    }))
    .filter(({ kinds }) => kinds.length > 0);
}

/** The schedule of a seed. `rounds` and `nodes` are at least 1. */
export function scheduleOf(seed: number, rounds: number, nodes: number): ChaosSchedule {
  const random = new Random(seed);
  const targets = targetsOf(nodes);
  // Every target has its outage before one has its second.
  const outages = turns(random, outagesOf(nodes), rounds);
  const places = placesOf(random, rounds);
  const others = targets.filter(({ name }) => !TELLERS.test(name));
  const faults = outages.flatMap((outage, round) =>
    roundOf(random, round % 2 === 0 ? others : targets, outage).map((fault) =>
      shifted(fault, round * ROUND_MS)
    )
  );
  return {
    nodes,
    durationMs: rounds * ROUND_MS,
    faults,
    incidents: places.map((place, round) => ({
      ...place,
      ...shifted({ beginMs: random.int(6_000, 14_000), endMs: ROUND_MS }, round * ROUND_MS),
    })),
    closesAtMs: closesOf(random, rounds),
  };
}

function roundOf(random: Random, targets: readonly Target[], outage: Target): ChaosFault[] {
  const lengthMs = random.int(...OUTAGE_MS);
  const beginMs = random.int(1_000, FAULTS_UNTIL_MS - lengthMs);
  const faults = [
    { target: outage.name, kind: random.pick(outage.kinds), beginMs, endMs: beginMs + lengthMs },
  ];
  while (faults.length <= SHORT_FAULTS) {
    const { name, kinds } = random.pick(targets);
    const lengthMs = random.int(...SHORT_MS);
    const beginMs = random.int(1_000, FAULTS_UNTIL_MS - lengthMs);
    const fault = { target: name, kind: random.pick(kinds), beginMs, endMs: beginMs + lengthMs };
    if (!faults.some((other) => isInTheWay(other, fault))) faults.push(fault);
  }
  return faults.sort((a, b) => a.beginMs - b.beginMs);
}

function isInTheWay(a: ChaosFault, b: ChaosFault): boolean {
  return a.target === b.target && a.beginMs < b.endMs + REST_MS && b.beginMs < a.endMs + REST_MS;
}

function closesOf(random: Random, rounds: number): number[] {
  const closes = Math.min(rounds, MAX_CLOSES);
  return Array.from(
    { length: closes },
    (_, i) => Math.floor(i * rounds / closes) * ROUND_MS + random.int(10_000, ROUND_MS - 5_000),
  );
}

/**
 * Where an incident is, in each round: another CDN and another region than in the round before, whose
 * incident may still be open, so that the two cannot be one.
 */
function placesOf(random: Random, rounds: number): Pick<ChaosIncident, "cdn" | "region">[] {
  const cdns = random.shuffle(CDNS);
  const regions = random.shuffle(INCIDENT_REGIONS);
  return Array.from({ length: rounds }, (_, i) => {
    const [cdn = "", region = ""] = [
      cdns[i % cdns.length],
      regions[(i + Math.floor(i / regions.length)) % regions.length],
    ];
    return { cdn, region };
  });
}

/** `count` of `items` in random order, each again only when all were there. */
function turns<T>(random: Random, items: readonly T[], count: number): T[] {
  const taken: T[] = [];
  while (taken.length < count) taken.push(...random.shuffle(items));
  return taken.slice(0, count);
}

function shifted<T extends { readonly beginMs: number; readonly endMs: number }>(
  part: T,
  byMs: number,
): T {
  return { ...part, beginMs: part.beginMs + byMs, endMs: part.endMs + byMs };
}
