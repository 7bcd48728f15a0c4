/**
 * A seeded fleet: thousands of sessions of dozens of titles and regions, on an imperfect network,
 * with one broken build and incidents. At the end all viewers leave. The same options give the
 * same bytes.
 *
 * Pure: `startEpochMs` is its only time. Memory holds the running sessions and the pending sends.
 *
 * @module
 */
import { Behaviour, type Trouble } from "./behaviour.ts";
import { type Beat, Playback, Player, type SessionIdentity, type Tick } from "./player.ts";
import { Calendar, DEFAULT_UPLINK, Uplink, type UplinkOptions } from "./uplink.ts";
import { Random } from "../testing/random.ts";

/** One title in one region. */
export interface Cohort {
  readonly titleId: string;
  readonly region: string;
}

/** From `atMs` on, a share of the viewers of a region on the CDN of the incident stalls. */
export interface IncidentStage {
  /** ms since the start of the run. */
  readonly atMs: number;
  readonly region: string;
  /** 0 to 1; includes the viewers of earlier stages of the region. */
  readonly share: number;
}

/** An incident: a CDN fails in one region after another, and recovers. */
export interface IncidentOptions {
  readonly cdn: string;
  /** In order of time. */
  readonly stages: readonly IncidentStage[];
  /** When the CDN recovers, ms since the start of the run; Infinity: not in this run. */
  readonly untilMs: number;
  /** Share of the time that the affected players stall. */
  readonly stallRatio: number;
}

/** Options of a {@link Simulator}. */
export interface SimulatorOptions {
  readonly seed: number;
  /** When the run starts, ms since the epoch. */
  readonly startEpochMs: number;
  readonly durationMs: number;
  /** Step of the timeline. */
  readonly tickMs: number;
  /** Sessions at any time; each sends about 0.12 events/s. */
  readonly sessions: number;
  readonly titles: number;
  /** At most {@link REGIONS}`.length`. */
  readonly regions: number;
  /** Exponent of the popularity of titles and, weakened, of regions. */
  readonly zipf: number;
  /** Share of sessions on the broken build. */
  readonly brokenShare: number;
  /** How many events are followed by one that reuses their id with other content. */
  readonly conflicts: number;
  /** In order of time; those of one CDN do not overlap. */
  readonly incidents?: readonly IncidentOptions[];
  readonly uplink: UplinkOptions;
}

/** A fleet of about 480 events a second. */
export const DEFAULT_SIMULATION: Omit<SimulatorOptions, "seed" | "startEpochMs" | "durationMs"> = {
  tickMs: 50,
  sessions: 4_000,
  titles: 40,
  regions: 24,
  zipf: 1,
  brokenShare: 0.01,
  conflicts: 5,
  uplink: DEFAULT_UPLINK,
};

/** The regions, those with the most viewers first. */
export const REGIONS: readonly string[] = [
  ...["us-east", "us-west", "br", "in", "de", "gb", "jp", "mx", "fr", "id", "tr", "it"],
  ...["es", "ca-east", "kr", "pl", "ar", "nl", "au", "se", "za", "eg", "th", "ph"],
];
/** The build whose heartbeats are all malformed. */
export const BROKEN_BUILD = "9.2.0";

const DEVICES: readonly SessionIdentity["device"][] = [
  { model: "TV-55", os: "tvos 19", build: "9.1.0" },
  { model: "TV-65", os: "tizen 9", build: "9.1.0" },
  { model: "Stick 4K", os: "android 14", build: "8.7.3" },
  { model: "Phone 15", os: "ios 19.2", build: "9.1.1" },
  { model: "Phone S", os: "android 16", build: "9.1.1" },
  { model: "Browser", os: "windows 11", build: "web-412" },
];
/** The CDNs; each has a third of the viewers of every region. */
export const CDNS: readonly string[] = ["cdn-a", "cdn-b", "cdn-c"];
const ISPS = ["fibre-one", "cable-two", "mobile-three", "dsl-four"];
const BITRATES_KBPS = [1_800, 3_500, 5_800, 8_000, 16_000];

/** A fleet and its timeline. */
export class Simulator {
  /** Ids of all titles, those with the most viewers first. */
  readonly titles: readonly string[];
  readonly #random: Random;
  readonly #titles: Zipf;
  readonly #regions: Zipf;
  readonly #due: Calendar<{ readonly session: Session; readonly beat: Beat }>;
  readonly #uplink: Uplink;
  #conflictsMade = 0;

  constructor(readonly options: SimulatorOptions) {
    const { seed, titles, regions, zipf, tickMs, uplink, durationMs } = options;
    const random = new Random(seed);
    this.#random = random;
    const width = String(titles).length;
    this.titles = Array.from(
      { length: titles },
      (_, i) => `title-${String(i + 1).padStart(width, "0")}`,
    );
    this.#titles = new Zipf(this.titles, zipf);
    this.#regions = new Zipf(REGIONS.slice(0, regions), zipf * 0.75);
    this.#due = new Calendar(tickMs);
    this.#uplink = new Uplink(random, uplink, durationMs - 1, tickMs);
  }

  /** The whole run, tick by tick. May be iterated once. */
  *ticks(): Generator<Tick> {
    const { sessions, durationMs, tickMs } = this.options;
    for (let i = 0; i < sessions; i++) this.#begin(0, true);
    for (let tick = 0; tick * tickMs < durationMs; tick++) {
      for (const { session, beat } of this.#due.take(tick)) this.#play(session, beat);
      yield this.#uplink.tick(tick);
    }
  }

  #play(session: Session, beat: Beat): void {
    this.#emit(session, beat);
    if (beat.state === "ended") {
      this.#begin(session.beganMs + beat.atMs + this.#random.int(500, 4_000), false);
    } else {
      this.#schedule(session);
    }
  }

  #emit(session: Session, beat: Beat): void {
    const { startEpochMs } = this.options;
    const atMs = session.beganMs + beat.atMs;
    const ts = startEpochMs + atMs;
    if (session.broken) {
      this.#uplink.accept(session.player.malformed(this.#random, beat, ts, atMs));
    } else if (this.#conflictIsDue(atMs)) {
      this.#emitConflict(session, beat, ts, atMs);
    } else {
      this.#uplink.accept(session.player.send(this.#random, beat, ts, atMs));
    }
  }

  #conflictIsDue(atMs: number): boolean {
    const { conflicts, durationMs } = this.options;
    // Evenly over the run, each early enough for the second send.
    const nextMs = durationMs * (this.#conflictsMade + 1) / (conflicts + 2);
    return this.#conflictsMade < conflicts && atMs >= nextMs &&
      atMs + CONFLICT_AFTER_MS < durationMs;
  }

  #emitConflict(session: Session, beat: Beat, ts: number, atMs: number): void {
    this.#conflictsMade++;
    const [fresh, rival] = session.player.rivals(this.#random, beat, ts, atMs);
    // Neither is delayed, so the first is counted and the second is the conflict.
    this.#uplink.acceptExact(fresh);
    this.#uplink.acceptExact({ ...rival, sendAtMs: atMs + CONFLICT_AFTER_MS });
  }

  #begin(atMs: number, hasBegun: boolean): void {
    const { durationMs, brokenShare } = this.options;
    if (atMs >= durationMs - LEAVING_MS) return;
    const random = this.#random;
    const broken = random.chance(brokenShare);
    const identity = this.#identity(broken);
    // Sessions of the first tick began before the run, which spreads their heartbeats.
    const beganMs = hasBegun ? -random.int(1, 10_000) : atMs;
    const behaviour = new Behaviour(random, {
      hasBegun,
      leavesMs: durationMs - random.int(1, LEAVING_MS) - beganMs,
      troubles: this.#troublesOf(identity, beganMs),
    });
    const playback = new Playback((sinceMs) => behaviour.next(sinceMs));
    const session = { player: new Player(identity), playback, beganMs, broken };
    this.#schedule(session);
  }

  /** When the session's buffer runs dry in incidents and fills again, ms since it began. */
  #troublesOf({ region, cdn }: SessionIdentity, beganMs: number): Trouble[] {
    const { incidents = [] } = this.options;
    const random = this.#random;
    return incidents.filter((each) => each.cdn === cdn).flatMap((incident) => {
      const rank = random.next();
      const stage = incident.stages.find((each) => each.region === region && rank < each.share);
      if (stage === undefined) return [];
      return {
        fromMs: stage.atMs + random.int(0, DRY_MS) - beganMs,
        untilMs: incident.untilMs + random.int(0, FILL_MS) - beganMs,
        stallRatio: incident.stallRatio,
      };
    });
  }

  #schedule(session: Session): void {
    let beat = session.playback.beat();
    while (beat && session.beganMs + beat.atMs < 0) beat = session.playback.beat();
    if (!beat) return;
    const atMs = session.beganMs + beat.atMs;
    if (atMs < this.options.durationMs) this.#due.add(atMs, { session, beat });
  }

  #identity(broken: boolean): SessionIdentity {
    const random = this.#random;
    const hex = () => Math.floor(random.next() * 2 ** 32).toString(16).padStart(8, "0");
    const device = random.pick(DEVICES);
    return {
      sessionId: `s-${hex()}${hex()}`,
      deviceId: `d-${hex()}`,
      titleId: this.#titles.pick(random),
      region: this.#regions.pick(random),
      device: broken ? { ...device, build: BROKEN_BUILD } : device,
      cdn: random.pick(CDNS),
      isp: random.pick(ISPS),
      bitrateKbps: random.pick(BITRATES_KBPS),
    };
  }
}

/** Long enough for the first copy to be acknowledged. */
const CONFLICT_AFTER_MS = 5_000;

/** Maximum time that a player plays from its buffer after the CDN fails, ms. */
const DRY_MS = 3_000;
/** Maximum time until its buffer is filled again after the CDN recovers, ms. */
const FILL_MS = 1_000;
/** Time at the end of the run in which all viewers leave and none comes, ms. */
const LEAVING_MS = 3_000;

interface Session {
  readonly player: Player;
  readonly playback: Playback;
  /** ms since the start of the run, negative for a session that began before it. */
  readonly beganMs: number;
  readonly broken: boolean;
}

/** Picks items so that the n-th is chosen with weight 1 / n^exponent (Zipf's law). */
class Zipf {
  readonly #ranks: { readonly item: string; readonly upTo: number }[] = [];
  #sum = 0;

  constructor(items: readonly string[], exponent: number) {
    for (const [i, item] of items.entries()) {
      this.#sum += (i + 1) ** -exponent;
      this.#ranks.push({ item, upTo: this.#sum });
    }
  }

  pick(random: Random): string {
    const at = random.next() * this.#sum;
    const rank = this.#ranks.find(({ upTo }) => at < upTo);
    if (rank === undefined) throw new RangeError("there are no items");
    return rank.item;
  }
}
