/**
 * A simulated audience: viewers whose heartbeats arrive in the order of receipt, second by second.
 *
 * Nothing waits: time is simulated. Heartbeats are objects, without JSON. The same seed gives the
 * same heartbeats.
 *
 * @module
 */
import type { Heartbeat } from "../../contract/event.ts";
import { Random } from "../../dev/testing/random.ts";
import {
  exponential,
  normal,
  RECORDED_STALLS,
  type StallShape,
  watchMs,
  watchMsOfPresent,
} from "./calibration.ts";
import { isInScope, isStalling, ratioOf, type WorldFault } from "./fault.ts";
import { Population, type PopulationOptions } from "./population.ts";
import { FAULT_STALLS, INTERVAL_MS, SimulatedViewer } from "./viewer.ts";

/** A part of the audience. What it does not name follows the population's shares. */
export interface AudienceGroup {
  readonly title?: string;
  readonly region?: string;
  /** The greatest number of viewers. */
  readonly viewers: number;
  /** How many of them watch at `atMs` of the world, 0 to 1; default: all. */
  readonly activeShare?: (atMs: number) => number;
  /** How far their clocks are ahead, ms; default: as `Clocks` of the world. */
  readonly clockMs?: number;
  /** Time between two heartbeats, ms. */
  readonly intervalMs?: number;
}

/** What a {@link World} is made of. Times are ms since the start of the world. */
export interface WorldOptions {
  readonly seed: number;
  readonly population: PopulationOptions;
  readonly groups: readonly AudienceGroup[];
  readonly faults: readonly WorldFault[];
  readonly stalls?: StallShape;
  /** Share of heartbeats that are lost. */
  readonly lossShare?: number;
  /** Share of heartbeats after which the device holds its heartbeats for minutes, then sends all. */
  readonly offlineShare?: number;
  /** Factor on every session's stall ratio at `atMs`, such as an evening's. */
  readonly stallFactor?: (atMs: number) => number;
  /** Heartbeats from elsewhere, such as an attacker's, in the second that begins at `atMs`. */
  readonly extra?: (atMs: number, random: Random) => readonly Heartbeat[];
}

/** Receives a heartbeat and its receipt, ms since the epoch. */
export type Receive = (heartbeat: Heartbeat, receivedAtMs: number) => void;

/** The start of every world: 2026-11-23T12:00:00Z, ms since the epoch. */
export const WORLD_START_MS = Date.UTC(2026, 10, 23, 12);

const SLOT_MS = 50;
const SLOTS = 4_096;
const SECOND_MS = 1_000;
/** Delay from a heartbeat to its receipt, ms: a fixed part plus an exponential one of this mean. */
const DELAY_MS = 1_200;
const DELAY_SPREAD_MS = 800;
const LONGEST_DELAY_MS = 8_000;
const JITTER_MS = 200;
const COPY_SHARE = 0.002;
/** Share of sessions whose last heartbeat has the state `ended`. */
const FAREWELL_SHARE = 0.7;
/** How often a fault that grows is applied again. */
const RAMP_STEP_MS = 5_000;
/** How long devices stay offline after a fault that made them so. */
const OFFLINE_AFTER_MS = 60_000;
const START_UP_MS = 900;
/** Mean time after which a viewer without a first frame tries again. */
const START_PATIENCE_MS = 40_000;
/** Heartbeats are told apart by session and seq. */
const EVENT_ID = "01939a1e-0000-7000-8000-000000000000";

/** A simulated audience; see above. */
export class World {
  /** Heartbeats received so far. */
  heartbeats = 0;
  readonly population: Population;
  readonly viewers: readonly SimulatedViewer[];
  readonly #random: Random;
  readonly #wheel: (SimulatedViewer | undefined)[] = new Array(SLOTS).fill(undefined);
  readonly #dormant: SimulatedViewer[][];
  readonly #active: number[];
  readonly #running = new Set<WorldFault>();
  #nowMs = 0;
  #sessions = 0;

  constructor(readonly options: WorldOptions) {
    this.#random = new Random(options.seed);
    this.population = new Population(options.population, this.#random);
    this.#dormant = options.groups.map(() => []);
    this.#active = options.groups.map(() => 0);
    this.viewers = options.groups.flatMap(({ viewers }, group) =>
      Array.from({ length: viewers }, () => new SimulatedViewer(group, this.#random))
    );
    for (const viewer of this.viewers) this.#dormant[viewer.group]?.push(viewer);
    for (const group of options.groups.keys()) this.#fill(group, true);
  }

  /** Time of the world, ms since its start. */
  get nowMs(): number {
    return this.#nowMs;
  }
  /** Viewers that watch now. */
  get watching(): number {
    return this.#active.reduce((sum, each) => sum + each, 0);
  }

  /** Advances by one second. */
  second(receive: Receive): void {
    this.#applyFaults();
    for (const group of this.options.groups.keys()) this.#fill(group, false);
    this.#receiveExtra(receive);
    const untilMs = this.#nowMs + SECOND_MS;
    for (; this.#nowMs < untilMs; this.#nowMs += SLOT_MS) {
      const at = (this.#nowMs / SLOT_MS) % SLOTS;
      let viewer = this.#wheel[at];
      this.#wheel[at] = undefined;
      while (viewer) {
        const { after }: SimulatedViewer = viewer;
        viewer.after = undefined;
        if (viewer.dueMs >= this.#nowMs + SLOT_MS) this.#wait(viewer);
        else this.#deliver(viewer, receive);
        viewer = after;
      }
    }
  }

  #applyFaults(): void {
    const nowMs = this.#nowMs;
    // Ends first: a session has one fault at a time.
    for (const fault of [...this.#running]) if (fault.untilMs <= nowMs) this.#end(fault);
    for (const fault of this.options.faults) {
      if (nowMs < fault.fromMs || fault.untilMs <= nowMs) continue;
      if (!this.#running.has(fault)) this.#begin(fault);
      else if (nowMs % RAMP_STEP_MS === 0) {
        if (fault.rampMs) this.#ramp(fault);
        if (fault.fallMs) this.#release(fault, fault.fallMs);
      }
    }
  }

  #begin(fault: WorldFault): void {
    this.#running.add(fault);
    for (const viewer of this.viewers) {
      if (viewer.traits && !viewer.fault) this.#hit(viewer, fault);
    }
  }

  #hit(viewer: SimulatedViewer, fault: WorldFault): boolean {
    const { traits, title } = viewer;
    if (traits === undefined || !isInScope(fault.scope, title, traits)) return false;
    if (!this.#random.chance(fault.share)) return false;
    viewer.fault = fault;
    const ratio = ratioOf(fault, this.#nowMs - fault.fromMs);
    if (isStalling(fault)) {
      viewer.stallAs(this.#nowMs, Math.max(ratio, traits.ratio), FAULT_STALLS, true);
    }
    const { effect } = fault;
    if (effect.what === "leave") {
      viewer.endMs = Math.min(viewer.endMs, this.#nowMs + effect.withinMs * this.#random.next());
    }
    if (effect.what === "offline") viewer.offlineUntilMs = fault.untilMs + OFFLINE_AFTER_MS;
    return true;
  }

  #end(fault: WorldFault): void {
    this.#running.delete(fault);
    for (const viewer of this.viewers) if (viewer.fault === fault) this.#heal(viewer, fault);
  }

  #heal(viewer: SimulatedViewer, fault: WorldFault): void {
    viewer.fault = undefined;
    if (!isStalling(fault)) return;
    viewer.stallAs(this.#nowMs, viewer.traits?.ratio ?? 0, this.#shape, false, true);
  }

  // Evenly over the time that is left.
  #release(fault: WorldFault, fallMs: number): void {
    const leftMs = fault.untilMs - this.#nowMs;
    if (leftMs > fallMs) return;
    for (const viewer of this.viewers) {
      if (viewer.fault === fault && this.#random.chance(Math.min(1, RAMP_STEP_MS / leftMs))) {
        this.#heal(viewer, fault);
      }
    }
  }

  #ramp(fault: WorldFault): void {
    const ratio = ratioOf(fault, this.#nowMs - fault.fromMs);
    for (const viewer of this.viewers) {
      if (viewer.fault !== fault) continue;
      viewer.stallAs(this.#nowMs, Math.max(ratio, viewer.traits?.ratio ?? 0), FAULT_STALLS, false);
    }
  }

  get #shape(): StallShape {
    return this.options.stalls ?? RECORDED_STALLS;
  }

  /** Lets viewers of a group come until as many watch as should. */
  #fill(group: number, isFirst: boolean): void {
    const { viewers = 0, activeShare } = this.options.groups[group] ?? {};
    const wanted = Math.round(viewers * (activeShare?.(this.#nowMs) ?? 1));
    const dormant = this.#dormant[group] ?? [];
    while ((this.#active[group] ?? 0) < wanted) {
      const viewer = dormant.pop();
      if (!viewer) return;
      this.#active[group] = (this.#active[group] ?? 0) + 1;
      this.#start(viewer, this.#nowMs, isFirst);
    }
  }

  /** Starts a session of `viewer` at `startMs`; `isPresent` has been watching for some time. */
  #start(viewer: SimulatedViewer, startMs: number, isPresent: boolean): void {
    const random = this.#random;
    const group = this.options.groups[viewer.group];
    const title = group?.title ?? this.population.title();
    const traits = this.population.traits(title, group?.region ?? this.population.region());
    const lengthMs = isPresent ? watchMsOfPresent(random) * random.next() : watchMs(random);
    const upMs = START_UP_MS * Math.exp(0.7 * normal(random));
    this.#sessions += 1;
    viewer.begin(
      {
        sessionId: `s${this.options.seed}-${this.#sessions}`,
        title,
        traits,
        startMs,
        endMs: startMs + Math.max(1_000, lengthMs),
        firstFrameMs: isPresent ? startMs : startMs + upMs,
        intervalMs: group?.intervalMs ?? INTERVAL_MS,
        clockMs: group?.clockMs ?? 300 * normal(random),
      },
      traits.ratio * (this.options.stallFactor?.(startMs) ?? 1),
      this.#shape,
    );
    this.#hitNew(viewer, startMs);
    // Those that watch already are in the middle of an interval.
    const firstMs = (isPresent ? 1 : random.next()) * random.next() * viewer.intervalMs;
    viewer.seq = isPresent ? random.int(0, 500) : 0;
    this.#schedule(viewer, startMs + (isPresent ? firstMs : Math.max(500, firstMs)));
  }

  #hitNew(viewer: SimulatedViewer, startMs: number): void {
    for (const fault of this.#running) {
      if (!this.#hit(viewer, fault)) continue;
      if (fault.effect.what === "no_start") {
        viewer.firstFrameMs = Infinity;
        viewer.endMs = startMs + START_PATIENCE_MS * (0.5 + exponential(this.#random));
      }
      return;
    }
  }

  #schedule(viewer: SimulatedViewer, atMs: number): void {
    viewer.nextMs = Math.min(atMs, Math.max(viewer.endMs, viewer.sentMs + 1));
    const delay = DELAY_MS + DELAY_SPREAD_MS * exponential(this.#random);
    // A session's heartbeats keep their order.
    viewer.dueMs = Math.max(viewer.dueMs, viewer.nextMs + Math.min(LONGEST_DELAY_MS, delay));
    this.#wait(viewer);
  }

  #wait(viewer: SimulatedViewer): void {
    const aheadMs = Math.min(viewer.dueMs, this.#nowMs + (SLOTS - 1) * SLOT_MS);
    const slot = Math.max(Math.floor(aheadMs / SLOT_MS), Math.floor(this.#nowMs / SLOT_MS) + 1);
    const at = slot % SLOTS;
    viewer.after = this.#wheel[at];
    this.#wheel[at] = viewer;
  }

  #deliver(viewer: SimulatedViewer, receive: Receive): void {
    const random = this.#random;
    const atMs = viewer.nextMs;
    const heartbeat = heartbeatOf(viewer, atMs);
    const isEnd = heartbeat.state === "ended";
    const isHeard = viewer.fault?.effect.what !== "vanish" &&
      !(isEnd && !random.chance(FAREWELL_SHARE)) &&
      !random.chance(this.options.lossShare ?? 0);
    if (isHeard) this.#emit(viewer, heartbeat, receive);
    if (isEnd) return this.#leave(viewer);
    this.#loseInterest(viewer, atMs);
    this.#schedule(viewer, atMs + viewer.intervalMs + JITTER_MS * (2 * random.next() - 1));
  }

  #emit(viewer: SimulatedViewer, heartbeat: Heartbeat, receive: Receive): void {
    const random = this.#random;
    const { offlineShare = 0 } = this.options;
    if (offlineShare > 0 && viewer.offlineUntilMs === 0 && random.chance(offlineShare)) {
      viewer.offlineUntilMs = this.#nowMs + 30_000 + 270_000 * random.next();
    }
    if (viewer.offlineUntilMs > this.#nowMs) {
      (viewer.held ??= []).push(heartbeat);
      return;
    }
    const receivedAtMs = WORLD_START_MS + this.#nowMs;
    for (const late of viewer.held ?? []) this.#pass(late, receivedAtMs, receive);
    viewer.held = undefined;
    viewer.offlineUntilMs = 0;
    this.#pass(heartbeat, receivedAtMs, receive);
    if (random.chance(COPY_SHARE)) this.#pass(heartbeat, receivedAtMs, receive);
  }

  #pass(heartbeat: Heartbeat, receivedAtMs: number, receive: Receive): void {
    this.heartbeats += 1;
    receive(heartbeat, receivedAtMs);
  }

  #loseInterest(viewer: SimulatedViewer, atMs: number): void {
    const patienceMs = viewer.fault?.patienceMs;
    if (patienceMs === undefined || !viewer.isStalled(atMs)) return;
    if (this.#random.chance(viewer.intervalMs / patienceMs)) viewer.endMs = atMs;
  }

  #leave(viewer: SimulatedViewer): void {
    const { viewers = 0, activeShare } = this.options.groups[viewer.group] ?? {};
    const wanted = Math.round(viewers * (activeShare?.(this.#nowMs) ?? 1));
    if ((this.#active[viewer.group] ?? 0) <= wanted) {
      return this.#start(viewer, this.#nowMs, false);
    }
    this.#active[viewer.group] = (this.#active[viewer.group] ?? 1) - 1;
    viewer.traits = viewer.fault = undefined;
    this.#dormant[viewer.group]?.push(viewer);
  }

  #receiveExtra(receive: Receive): void {
    const more = this.options.extra?.(this.#nowMs, this.#random) ?? [];
    for (const heartbeat of more) this.#pass(heartbeat, WORLD_START_MS + this.#nowMs, receive);
  }
}

function heartbeatOf(viewer: SimulatedViewer, atMs: number): Heartbeat {
  const { traits } = viewer;
  if (traits === undefined) throw new Error("a viewer that does not watch sends nothing");
  const interval = viewer.until(atMs);
  return {
    v: 1,
    event_id: EVENT_ID,
    session_id: viewer.sessionId,
    device_id: viewer.sessionId,
    title_id: viewer.title,
    seq: viewer.seq++,
    region: traits.region,
    ts: Math.max(0, Math.round(WORLD_START_MS + atMs + viewer.clockMs)),
    interval_ms: interval.intervalMs,
    state: interval.state,
    played_ms: interval.playedMs,
    rebuffer_ms: interval.rebufferMs,
    rebuffer_count: interval.rebufferCount,
    cdn: traits.cdn,
    isp: traits.isp,
    device: traits.device,
  };
}
