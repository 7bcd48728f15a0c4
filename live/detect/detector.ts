/**
 * The detector: heartbeats in, findings out.
 *
 * Heartbeats change the counts of cells at once; {@link Detector.tick}, once a second, compares the
 * counts with learned baselines and decides. What is decided how stands in `signal_watch.ts` (which
 * cell is the cause), `bound.ts` (what is improbable), `baseline.ts` (what is normal) and
 * `open_incident.ts` (what is over).
 *
 * Cold start: a detector that has loaded no baselines learns for its first 120 s. In that time it
 * opens only on the outage shares of `channels.ts` (20 % in 10 s); a fault below them is learned as
 * normal, and forgotten within minutes of its end (see `baseline.ts`). One that goes on for longer
 * than it takes to learn is a chronic level, which only twice as much exceeds.
 *
 * Pure: no clock. All times are ms since the epoch as receipts are. While receipts lag behind the
 * clock, tick with the newest receipt: otherwise everybody seems to be silent.
 *
 * @module
 */
import { type CellLimits, type CellName, CellTable, DEFAULT_CELL_LIMITS } from "../watch/cells.ts";
import { type SessionCounters, SessionTable, type WatchedHeartbeat } from "../watch/sessions.ts";
import { Baselines, type BaselineSnapshot } from "./baseline.ts";
import { alphaFor } from "./bound.ts";
import { Candidates } from "./candidates.ts";
import { Adoptions } from "./chronic.ts";
import {
  channelOf,
  ruleOfSignal,
  SIGNAL_OF_CHANNEL,
  type SignalRule,
  SIGNALS,
} from "./channels.ts";
import type { Finding, FindingSignal, Measurement } from "./finding.ts";
import { findingsOf, withSums } from "./report.ts";
import { impairedOf, OpenIncident } from "./open_incident.ts";
import { type CellSums, Passes } from "./passes.ts";
import { overlap } from "./relation.ts";
import { type Change, SignalWatch } from "./signal_watch.ts";

/** Options of a {@link Detector}. */
export interface DetectorOptions {
  /** False pages a day that are acceptable; default 1. */
  readonly falsePagesPerDay?: number;
  /** Cells that are watched, for that budget; default 100,000. */
  readonly budgetKeys?: number;
  readonly maxSessions?: number;
  readonly limits?: Partial<CellLimits>;
}

/** An open incident that {@link Detector.restore} takes from an earlier process. */
export interface RestoredIncident {
  readonly signal: FindingSignal;
  readonly cell: CellName;
  readonly openedMs: number;
  readonly onsetMs: number;
  readonly peak: Measurement;
}

/** An open incident. */
export interface OpenView extends RestoredIncident {
  readonly now: Measurement;
}

/** Why a cell has or has no incident, for one signal. */
export interface Explained {
  readonly signal: FindingSignal;
  readonly now: Measurement;
  /** Share that open incidents explain. */
  readonly expected: number;
  readonly decision: "open" | "folded" | "improbable" | "learning" | "normal" | "unknown";
  /** The cell of the incident that it is folded into. */
  readonly into?: CellName;
}

/** What the detector has seen and refused. */
export interface DetectorCounters extends Readonly<SessionCounters> {
  readonly sessions: number;
  readonly rows: number;
  readonly cells: number;
  readonly refusedCells: number;
  readonly otherValues: number;
  readonly displacedValues: number;
  readonly refusedIncidents: number;
}

/** Watches all cells. */
export class Detector {
  readonly cells: CellTable;
  readonly sessions: SessionTable;
  readonly baselines: Baselines;
  readonly #tests: Candidates;
  #nowMs = 0;
  /** Until then an audience may seem to have vanished that was not heard. */
  #deafUntilMs = -Infinity;
  readonly #passes: Passes;
  readonly #watches: readonly SignalWatch[];
  readonly #adoptions: Adoptions;
  /** Cells whose incidents have recovered since the last second. */
  readonly #toForgive: number[] = [];

  constructor(options: DetectorOptions = {}) {
    const { falsePagesPerDay = 1, budgetKeys = 100_000, maxSessions, limits } = options;
    this.cells = new CellTable({ ...DEFAULT_CELL_LIMITS, ...limits });
    this.sessions = new SessionTable(this.cells, maxSessions);
    const alpha = alphaFor(falsePagesPerDay, budgetKeys);
    this.#tests = new Candidates(this.cells, () => this.baselines, alpha);
    this.baselines = new Baselines(
      this.cells,
      (cell, channel) => this.#isFrozen(cell, channel),
      (cell, channel) => this.#watches[SIGNAL_OF_CHANNEL[channel] ?? 0]?.unexplained(cell, channel),
    );
    this.#adoptions = new Adoptions(this.#tests, this.baselines);
    this.#passes = new Passes(this.sessions);
    this.#watches = SIGNALS.map((rule) =>
      new SignalWatch(
        rule,
        this.#tests,
        this.#passes,
        this.measure,
        () => rule.signal === "silent" ? this.#mostlyImpaired() : [],
      )
    );
  }

  /** Takes in a heartbeat that was received at `receivedAtMs` in the stream number `lane`. */
  heartbeat(heartbeat: WatchedHeartbeat, receivedAtMs: number, lane = 0): void {
    this.sessions.heartbeat(heartbeat, receivedAtMs, lane);
  }

  /** Notes that heartbeats of the stream `lane` were skipped until `toMs`. */
  skipped(lane: number, toMs: number): void {
    this.sessions.skipped(lane, toMs);
    this.#deafUntilMs = Math.max(this.#deafUntilMs, toMs + AFTER_SKIP_MS);
  }

  /**
   * Decides about everything received until `nowMs`; to be called once a second. `coverage` is the
   * share of the heartbeats that were seen, 0 to 1.
   */
  tick(nowMs: number, coverage = 1): Finding[] {
    this.#tests.coverage = coverage;
    if (coverage < 1) this.#deafUntilMs = Math.max(this.#deafUntilMs, nowMs + AFTER_SKIP_MS);
    this.#tests.isPartlyDeaf = nowMs < this.#deafUntilMs;
    this.sessions.advance(nowMs);
    this.#forgive(nowMs);
    this.baselines.advance(nowMs, this.sessions.hearing.isDeaf);
    this.#adoptions.advance(nowMs);
    this.#tests.collect(nowMs);
    this.#nowMs = nowMs;
    return this.#watches.flatMap((watch, i) => {
      const list = this.#tests.lists[i];
      const changes = list === undefined ? [] : watch.step(list, nowMs);
      for (const { why, incident } of changes) {
        if (why === "chronic") this.#adopt(incident);
      }
      const findings = findingsOf({
        changes,
        watch,
        tests: this.#tests,
        passes: this.#passes,
        nowMs,
      });
      if (watch.rule.signal === "rebuffer") this.#noteRecovered(changes);
      return findings;
    });
  }

  // What a session stalled in an incident that recovered is not held against it. That is a pass over
  // the sessions, so it waits for the next second.
  #noteRecovered(changes: readonly Change[]): void {
    for (const { change, incident: { members } } of changes) {
      if (change === "resolve") this.#toForgive.push(...members.map(({ cell }) => cell));
    }
  }

  #forgive(nowMs: number): void {
    if (this.#toForgive.length === 0) return;
    this.sessions.forgive(this.#toForgive, nowMs);
    this.#toForgive.length = 0;
  }

  /** The open incidents, by {@link openKey}. */
  get open(): ReadonlyMap<string, OpenView> {
    const out = new Map<string, OpenView>();
    for (const watch of this.#watches) {
      for (const { cell, openedMs, onsetMs, peak, rule } of watch.open) {
        const name = this.cells.name(cell);
        const view = { signal: rule.signal, cell: name, openedMs, onsetMs, peak };
        out.set(openKey(rule.signal, name), { ...view, now: this.measure(cell, rule) });
      }
    }
    return out;
  }

  /**
   * Makes the open incidents those that another process has told, with the figures of `now`: what
   * else this one found, growth included, is found again, and told then.
   */
  adopt(incidents: readonly OpenView[], nowMs: number): void {
    for (const watch of this.#watches) {
      const told = new Map(
        incidents.filter(({ signal }) => signal === watch.rule.signal)
          .map(({ cell, now }) => [this.cells.named(cell, nowMs, false), now.impaired]),
      );
      watch.keep(told, nowMs);
    }
    this.restore(incidents, nowMs);
  }

  /** Takes over incidents that an earlier process opened. */
  restore(incidents: Iterable<RestoredIncident>, nowMs: number): void {
    for (const { signal, cell: name, openedMs, onsetMs, peak } of incidents) {
      const watch = this.#watches.find(({ rule }) => rule.signal === signal);
      const cell = this.cells.named(name, nowMs, true);
      if (watch === undefined || cell < 0 || watch.incidentOn(cell)) continue;
      watch.restore(new OpenIncident(watch.rule, cell, openedMs, peak, onsetMs), nowMs);
    }
  }

  /** The baselines, as JSON; see {@link Baselines.snapshot}. */
  snapshot(): BaselineSnapshot {
    return this.baselines.snapshot();
  }

  /** Loads the baselines of an earlier process, before the first heartbeat. */
  load(snapshot: BaselineSnapshot, nowMs: number): void {
    this.baselines.load(snapshot, nowMs);
    this.#adoptions.restore();
  }

  /**
   * The figures of `name` as of the last {@link tick}, undefined if nobody knows it. With `summed`
   * also the stalled and played time, which costs a pass over the sessions.
   */
  current(signal: FindingSignal, name: CellName, summed: boolean): Measurement | undefined {
    const cell = this.cells.named(name, 0, false);
    if (cell < 0) return undefined;
    const now = this.measure(cell, ruleOfSignal(signal));
    const sums = summed ? this.#passes.sums(new Set([cell]), this.#nowMs).get(cell) : undefined;
    return sums === undefined ? now : withSums(now, sums);
  }

  /**
   * The stalled and played time of each of `cells` until now, which costs a pass over the sessions;
   * of none before the first {@link tick}.
   */
  sums(cells: ReadonlySet<number>): ReadonlyMap<number, CellSums> {
    if (this.#nowMs === 0) return new Map();
    // Heartbeats of the second that is not decided about yet are in the sessions already.
    return this.#passes.sums(cells, Math.max(this.#nowMs, this.sessions.newestMs));
  }

  /** Why `name` has or has no incident now, by signal. */
  explain(name: CellName): Explained[] {
    const cell = this.cells.named(name, 0, false);
    return this.#watches.map((watch) => {
      const { rule } = watch;
      const { signal } = rule;
      if (cell < 0) return { signal, now: NOTHING, expected: 0, decision: "unknown" };
      const now = this.measure(cell, rule);
      const expected = Math.max(now.baseline, watch.explainedBy(cell));
      return { signal, now, expected, ...this.#decisionOn(watch, cell) };
    });
  }

  /** What was seen and refused. */
  get counters(): DetectorCounters {
    const sum = (of: (interner: { others: number; displaced: number }) => number) =>
      this.cells.interners.reduce((total, interner) => total + of(interner), 0);
    return {
      ...this.sessions.counters,
      sessions: this.sessions.watching,
      rows: this.sessions.rows,
      cells: this.cells.size,
      refusedCells: this.cells.refused,
      otherValues: sum(({ others }) => others),
      displacedValues: sum(({ displaced }) => displaced),
      refusedIncidents: this.#watches.reduce((total, { refused }) => total + refused, 0),
    };
  }

  /** The figures of a cell in `channel`, or in the one of the rule with the largest share. */
  readonly measure = (cell: number, rule: SignalRule, channel?: number): Measurement => {
    const at = channel ?? this.#worstChannel(cell, rule);
    const baseline = this.#tests.baseline(cell, at);
    const { watching, impaired } = rule.signal === "silent"
      ? this.#vanished(cell, at)
      : { watching: this.#tests.of(cell, at), impaired: impairedOf(this.#tests, rule, cell, at) };
    return {
      watching,
      impaired,
      spanMs: channelOf(at).spanMs,
      share: watching === 0 ? 0 : impaired / watching,
      baseline,
      bound: Math.max(rule.minImpaired, this.#tests.bound(cell, at, baseline)),
      rebufferMs: 0,
      playedMs: 0,
    };
  };

  // Of the audience of a minute ago without those that said that they leave, those no longer heard,
  // whether expired yet or not.
  #vanished(cell: number, channel: number): Pick<Measurement, "watching" | "impaired"> {
    const present = this.#tests.of(cell, channel);
    const audience = (this.baselines.audience[cell] ?? 0) - this.cells.departed(cell, this.#nowMs);
    const watching = Math.max(present, audience);
    return { watching, impaired: watching - present + this.#tests.impaired(cell, channel) };
  }

  #worstChannel(cell: number, rule: SignalRule): number {
    let worst = rule.first;
    for (let channel = rule.first; channel < rule.first + rule.count; channel++) {
      if (this.#tests.share(cell, channel) > this.#tests.share(cell, worst)) worst = channel;
    }
    return worst;
  }

  #decisionOn(watch: SignalWatch, cell: number): Pick<Explained, "decision" | "into"> {
    if (watch.incidentOn(cell)) return { decision: "open" };
    if (!this.#isOverAny(watch.rule, cell)) return { decision: "normal" };
    const into = watch.open.find(({ members }) =>
      members.some((member) => this.cells.contains(member.cell, cell))
    );
    if (into) return { decision: "folded", into: this.cells.name(into.cell) };
    return { decision: this.baselines.isLearning ? "learning" : "improbable" };
  }

  #isFrozen(cell: number, channel: number): boolean {
    const watch = this.#watches[SIGNAL_OF_CHANNEL[channel] ?? 0];
    return (watch?.explainedBy(cell) ?? 0) > 0 || this.#tests.isOver(cell, channel);
  }

  // Cells whose viewers are impaired, or were until lately, and leave: that is no other incident.
  #mostlyImpaired(): number[] {
    return this.#watches.filter(({ rule }) => rule.signal !== "silent").flatMap(({ incidents }) =>
      incidents.flatMap(({ members }) =>
        members.filter((member) => member.explainsLeaving() >= MOSTLY).map(({ cell }) => cell)
      )
    );
  }

  // A chronic level becomes the baseline of its cells, of all inside them that have less, and of
  // the cells that are over their bound because they overlap.
  #adopt({ members, rule }: OpenIncident): void {
    for (const member of members) {
      const inside: number[] = [];
      for (let cell = 0; cell < this.cells.end; cell++) {
        if (!this.cells.has(cell)) continue;
        const lies = overlap(this.cells, member.cell, cell);
        if (lies === "inside") inside.push(cell);
        else if (lies === "partly" && this.#isOverAny(rule, cell)) {
          this.#adoptions.adopt(rule, cell, [cell]);
        }
      }
      this.#adoptions.adopt(rule, member.cell, inside);
    }
  }

  #isOverAny({ first, count }: SignalRule, cell: number): boolean {
    for (let channel = first; channel < first + count; channel++) {
      if (this.#tests.isOver(cell, channel)) return true;
    }
    return false;
  }
}

/** Time after which the audience of a minute ago is one that was heard, in ms. */
const AFTER_SKIP_MS = 75_000;
/** Share of an incident that explains that its audience leaves. */
const MOSTLY = 0.5;
const NOTHING: Measurement = {
  watching: 0,
  impaired: 0,
  spanMs: 0,
  share: 0,
  baseline: 0,
  bound: 0,
  rebufferMs: 0,
  playedMs: 0,
};

/** The key of an incident: its signal and the values that its cell fixes. */
export function openKey(signal: FindingSignal, cell: CellName): string {
  const { kind, region, title, cdn, isp, build, model } = cell;
  return JSON.stringify([signal, kind, region, title, cdn, isp, build, model]);
}
