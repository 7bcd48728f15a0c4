/**
 * Recordings as a timeline of sends: every trace and every counted session, alone or with many
 * parallel viewers, in real time or accelerated.
 *
 * Pure and seeded. Recording time runs from the first viewer's start; sends are in ms of the run,
 * `acceleration` times faster. Players show content that much faster: a heartbeat has the content
 * and the interval of the recording, for royalty, and the stalls of the run, as live counts time. A
 * device's clock is that of the run, because live takes one that runs faster for an upload of
 * heartbeats about the past.
 *
 * @module
 */
import { type Beat, Playback, Player, type Segment, type Tick } from "../fleet/player.ts";
import { Calendar, PERFECT_UPLINK, Uplink, type UplinkOptions } from "../fleet/uplink.ts";
import { Random } from "../testing/random.ts";
import {
  contentEnd,
  type PlaybackTrace,
  type Recordings,
  sessionSegments,
  traceSegments,
  watchedOf,
  type WatchedSession,
} from "./recordings.ts";
import {
  DEFAULT_RULE,
  eitherReading,
  type ExpectationRule,
  type Expected,
  StallCurve,
  traceIntervals,
  type ViewedInterval,
} from "./expectation.ts";
import type { AlertExpectation } from "./alert_expectation.ts";

/** How recordings are replayed. */
export interface ReplayOptions {
  readonly seed: number;
  /** When the run starts, ms since the epoch. */
  readonly startEpochMs: number;
  /** Parallel viewers of each trace. */
  readonly viewers: number;
  /** Counted sessions, drawn from all of them. */
  readonly sessions: number;
  /** Viewers start within this, in recording time. */
  readonly spreadMs: number;
  /** Recording time against wall time, 1 or more. */
  readonly acceleration: number;
  readonly tickMs: number;
  readonly uplink: UplinkOptions;
  readonly rule: ExpectationRule;
}

/** The defaults of `deno task replay`. */
export const DEFAULT_REPLAY: Omit<ReplayOptions, "seed" | "startEpochMs"> = {
  viewers: 40,
  sessions: 400,
  spreadMs: 60_000,
  acceleration: 10,
  tickMs: 50,
  uplink: PERFECT_UPLINK,
  rule: DEFAULT_RULE,
};

/** Region of every replayed session. */
export const REPLAY_REGION = "lab";

interface Viewer {
  readonly titleId: string;
  readonly shiftMs: number;
  readonly segments: readonly Segment[];
  readonly lengthMs: number;
}

/** One replay: its sends, and the results that the recordings require. */
export class Replay {
  /** Length of the run in wall time, ms. */
  readonly durationMs: number;
  /** Content shown per title according to the recordings, independent of heartbeats. */
  readonly recordedMs: ReadonlyMap<string, number>;
  /** Alerts by the independent rule; times are ms since the start of the run. */
  readonly expectations: readonly AlertExpectation[];
  readonly #random: Random;
  readonly #viewers: readonly Viewer[];
  /** Length in recording time. */
  readonly #lengthMs: number;

  constructor(recordings: Recordings, readonly options: ReplayOptions) {
    this.#random = new Random(options.seed);
    const sessions = this.#random.shuffle(recordings.sessions).slice(0, options.sessions);
    const ofTraces = recordings.traces.map((trace) => ({
      trace,
      viewers: this.#viewersOf(trace),
    }));
    const ofSessions = sessions.map((session) =>
      this.#viewer(
        `yt-${session.titleId}`,
        sessionSegments(session),
      )
    );
    this.#viewers = [...ofTraces.flatMap(({ viewers }) => viewers), ...ofSessions];
    this.#lengthMs = this.#viewers.reduce((max, v) => Math.max(max, v.shiftMs + v.lengthMs), 0);
    this.durationMs = Math.ceil(this.#lengthMs / options.acceleration) + 1;
    this.recordedMs = recorded(recordings.traces, options.viewers, sessions);
    this.expectations = [
      ...ofTraces.map(({ trace, viewers }) => this.#expectTrace(trace, viewers)),
      ...this.#expectSessions(ofSessions),
    ];
  }

  /** The whole run, tick by tick. May be iterated once. */
  *ticks(): Generator<Tick> {
    const { acceleration, startEpochMs, tickMs, uplink } = this.options;
    const due = new Calendar<Turn>(tickMs);
    const out = new Uplink(this.#random, uplink, this.durationMs, tickMs);
    const schedule = (turn: Turn) => due.add(atMsOf(turn) / acceleration, turn);
    for (const turn of this.#turns()) schedule(turn);
    for (let tick = 0; tick * tickMs <= this.durationMs; tick++) {
      for (const turn of due.take(tick)) {
        const sendAtMs = Math.ceil(atMsOf(turn) / acceleration);
        const ts = startEpochMs + Math.floor(atMsOf(turn) / acceleration);
        const stalledMs = turn.stalledMs + turn.beat.rebufferMs;
        // The difference of two running sums, so that parts of a ms are not lost.
        const rebufferMs = Math.floor(stalledMs / acceleration) -
          Math.floor(turn.stalledMs / acceleration);
        out.accept(turn.player.send(this.#random, { ...turn.beat, rebufferMs }, ts, sendAtMs));
        const beat = turn.playback.beat();
        if (beat) schedule({ ...turn, beat, stalledMs });
      }
      yield out.tick(tick);
    }
  }

  *#turns(): Generator<Turn> {
    for (const [index, viewer] of this.#viewers.entries()) {
      const rest = viewer.segments.values();
      const playback = new Playback(() => rest.next().value);
      const beat = playback.beat();
      if (!beat) continue;
      yield {
        viewer,
        playback,
        beat,
        stalledMs: 0,
        player: new Player(identityOf(viewer, `${this.options.seed}-${index}`)),
      };
    }
  }

  #viewersOf(trace: PlaybackTrace): Viewer[] {
    const segments = traceSegments(trace);
    const { viewers } = this.options;
    return Array.from({ length: viewers }, () => this.#viewer(`trace-${trace.name}`, segments));
  }

  #viewer(titleId: string, segments: readonly Segment[]): Viewer {
    const lengthMs = segments.reduce((sum, { ms }) => sum + ms, 0);
    return { titleId, segments, lengthMs, shiftMs: this.#random.int(0, this.options.spreadMs) };
  }

  #expectTrace(trace: PlaybackTrace, viewers: readonly Viewer[]): AlertExpectation {
    const curve = (upTo?: number) => {
      const lastMs = trace.samples.at(-1)?.tMs ?? 0;
      const curve = this.#curve(this.options.spreadMs + lastMs);
      for (const { shiftMs } of viewers) curve.add(traceIntervals(trace, shiftMs, upTo));
      return curve.expected();
    };
    const end = contentEnd(trace);
    const why =
      "media time does not advance to the end of the recording: a stall or the end of content";
    const expected = end === undefined ? curve() : eitherReading(curve(), curve(end), why);
    return this.#inRunTime(`trace-${trace.name}`, expected);
  }

  #expectSessions(viewers: readonly Viewer[]): AlertExpectation[] {
    const curves = new Map<string, StallCurve>();
    for (const viewer of viewers) {
      const curve = curves.get(viewer.titleId) ?? this.#curve(this.#lengthMs);
      curves.set(viewer.titleId, curve);
      curve.add(sessionIntervals(viewer));
    }
    return [...curves].map(([titleId, curve]) => this.#inRunTime(titleId, curve.expected()));
  }

  #curve(durationMs: number): StallCurve {
    return new StallCurve(durationMs, this.options.rule, this.options.acceleration);
  }

  #inRunTime(titleId: string, expected: Expected): AlertExpectation {
    const cohort = { titleId, region: REPLAY_REGION };
    if (expected.alert !== "must") return { ...cohort, ...expected };
    const { acceleration } = this.options;
    return {
      ...cohort,
      alert: "must",
      sinceMs: expected.sinceMs / acceleration,
      evidentMs: expected.evidentMs / acceleration,
    };
  }
}

/** The next heartbeat of one viewer. */
interface Turn {
  readonly viewer: Viewer;
  readonly player: Player;
  readonly playback: Playback;
  readonly beat: Beat;
  /** Stalled time before it, in recording time. */
  readonly stalledMs: number;
}

function sessionIntervals({ segments, shiftMs }: Viewer): ViewedInterval[] {
  let toMs = shiftMs;
  return segments.map(({ state, ms }) => {
    const fromMs = toMs;
    toMs += ms;
    const stalledMs = state === "rebuffering" ? ms : 0;
    return { fromMs, toMs, stalledMs, isWaiting: state === "starting" };
  });
}

function atMsOf({ viewer, beat }: Turn): number {
  return viewer.shiftMs + beat.atMs;
}

function identityOf({ titleId }: Viewer, name: string) {
  return {
    sessionId: `replay-${name}`,
    deviceId: `replay-device-${name}`,
    titleId,
    region: REPLAY_REGION,
    device: { model: "recording", os: "lab", build: "replay-1" },
  };
}

function recorded(
  traces: readonly PlaybackTrace[],
  viewers: number,
  sessions: readonly WatchedSession[],
): Map<string, number> {
  const out = new Map<string, number>();
  const add = (titleId: string, ms: number) => out.set(titleId, (out.get(titleId) ?? 0) + ms);
  for (const trace of traces) add(`trace-${trace.name}`, watchedOf(trace) * viewers);
  for (const { titleId, watchedMs } of sessions) add(`yt-${titleId}`, watchedMs);
  return out;
}
