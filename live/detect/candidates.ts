/**
 * Finds the cells whose impaired sessions are improbable: one pass over the counts each second.
 *
 * @module
 */
import { ALL, type CellTable, COUNT_STRIDE, KINDS } from "../watch/cells.ts";
import type { Baselines } from "./baseline.ts";
import { BoundTable } from "./bound.ts";
import {
  CHANNEL_COUNT,
  channelOf,
  CHANNELS,
  ruleOf,
  SIGNAL_OF_CHANNEL,
  SIGNALS,
  SILENT_CHANNEL,
} from "./channels.ts";

/** Part of a whole that is missed in it. */
const TELLING_PART = 0.02;
/** A baseline above which no share is twice as much. */
const MAX_BASELINE = 0.8;
/** An excess has at least this many times the odds of what is expected. */
const MIN_ODDS_RATIO = 2;
/** By channel: the count that is the impaired, and how many of them a candidate has at least. */
const IMPAIRED = Uint8Array.from(CHANNELS, ({ impaired }) => impaired);
const MIN_IMPAIRED = Int32Array.from(CHANNELS, (_, channel) => ruleOf(channel).minImpaired);
/** Least of these: the impaired are watching, so a cell with fewer sessions is no candidate. */
const MIN_SESSIONS = Math.min(...MIN_IMPAIRED);
/** By channel: whether it is a longer span of a signal that has a shorter one. */
const LONGER = Uint8Array.from(CHANNELS, (_, channel) => channel > ruleOf(channel).first ? 1 : 0);
/** Kinds before this one have children. */
const FIRST_CHILD_KIND = KINDS.indexOf("title_region");

/** Candidates of one signal, in columns. */
export class CandidateList {
  size = 0;
  readonly cells: Int32Array;
  readonly channels: Uint8Array;
  /** 1: improbable, but too small a share to open unless a child of it would. */
  readonly weak: Uint8Array;

  constructor(capacity: number) {
    this.cells = new Int32Array(capacity);
    this.channels = new Uint8Array(capacity);
    this.weak = new Uint8Array(capacity);
  }

  /** Adds a cell; of two channels of a cell the one with the larger share stays. */
  add(cell: number, channel: number, isWeak: boolean, isLarger: (than: number) => boolean): void {
    const last = this.size - 1;
    const isKnown = last >= 0 && this.cells[last] === cell;
    if (isKnown && (isWeak && !this.weak[last] || !isLarger(this.channels[last] ?? 0))) return;
    const at = isKnown ? last : this.size++;
    this.cells[at] = cell;
    this.channels[at] = channel;
    this.weak[at] = isWeak ? 1 : 0;
  }
}

/** The test of a cell against its baseline, and the list of those that fail it. */
export class Candidates {
  /** By signal number. */
  readonly lists: readonly CandidateList[];
  /** Of the last {@link collect}, the cells with impaired sessions enough to open, ascending. */
  readonly many: Int32Array;
  manyEnd = 0;
  /** Whether heartbeats are missing because they were skipped: nobody has vanished then. */
  isPartlyDeaf = false;
  /** Share of the heartbeats that are seen, 0 to 1: of an audience that share is counted. */
  coverage = 1;
  #nowMs = 0;
  readonly #tables: readonly (readonly BoundTable[])[];

  constructor(readonly cells: CellTable, readonly baselines: () => Baselines, alpha: number) {
    this.many = new Int32Array(cells.limits.cells);
    this.lists = SIGNALS.map(() => new CandidateList(cells.limits.cells));
    // Kinds of one precision share a table.
    this.#tables = SIGNALS.map(({ precision }) => {
      const tables = new Map([...new Set(precision)].map((m) => [m, new BoundTable(m, alpha)]));
      return precision.map((m) => tables.get(m) ?? new BoundTable(m, alpha));
    });
  }

  /** Impaired sessions and the whole, in `channel` of `cell`. */
  impaired(cell: number, channel: number): number {
    return this.cells.counts[cell * COUNT_STRIDE + channelOf(channel).impaired] ?? 0;
  }
  of(cell: number, channel: number): number {
    return this.cells.counts[cell * COUNT_STRIDE + channelOf(channel).of] ?? 0;
  }
  /** Impaired share, 0 to 1. */
  share(cell: number, channel: number): number {
    const of = this.of(cell, channel);
    return of === 0 ? 0 : Math.min(1, this.impaired(cell, channel) / of);
  }
  /** The learned share. */
  baseline(cell: number, channel: number): number {
    return this.baselines().share[cell * CHANNEL_COUNT + channel] ?? 0;
  }
  /** Impaired sessions that are improbable if `expected` is the usual share. */
  bound(cell: number, channel: number, expected: number): number {
    return this.#boundOf(cell, channel, this.of(cell, channel), expected);
  }

  /** Whether the impaired of a cell are improbable under its baseline. */
  isOver(cell: number, channel: number): boolean {
    const { minImpaired, minWatching } = ruleOf(channel);
    const x = this.impaired(cell, channel);
    if (x < minImpaired || this.of(cell, channel) < minWatching) return false;
    const p = this.baseline(cell, channel);
    return p < MAX_BASELINE && this.share(cell, channel) >= 2 * p &&
      x >= this.bound(cell, channel, p);
  }

  /** Whether they are more than `expected`, the share that incidents explain, makes probable. */
  exceeds(cell: number, channel: number, expected: number): boolean {
    if (expected >= MAX_BASELINE) return false;
    const share = this.share(cell, channel);
    return odds(share) >= MIN_ODDS_RATIO * odds(expected) &&
      this.impaired(cell, channel) >= this.bound(cell, channel, expected);
  }

  /** Whether the impaired of a part of a cell are improbable if `expected` is the usual share. */
  isExcess(
    cell: number,
    channel: number,
    { of, impaired }: { readonly of: number; readonly impaired: number },
    expected: number,
  ): boolean {
    const { minImpaired, minWatching } = ruleOf(channel);
    if (impaired < minImpaired || of < minWatching || expected >= MAX_BASELINE) return false;
    return odds(impaired / of) >= MIN_ODDS_RATIO * odds(expected) &&
      impaired >= this.#boundOf(cell, channel, of, expected);
  }

  #boundOf(cell: number, channel: number, of: number, expected: number): number {
    const tables = this.#tables[SIGNAL_OF_CHANNEL[channel] ?? 0];
    return tables?.[this.cells.kinds[cell] ?? 0]?.bound(of, expected) ?? Infinity;
  }

  /** Fills the lists. */
  collect(nowMs: number): void {
    this.#nowMs = nowMs;
    for (const list of this.lists) list.size = 0;
    const { counts, end } = this.cells;
    let many = 0;
    for (let cell = 0, at = 0; cell < end; cell++, at += COUNT_STRIDE) {
      if ((counts[at] ?? 0) < MIN_SESSIONS) continue;
      let isMany = false;
      let isOutage = false;
      for (let channel = 0; channel < CHANNEL_COUNT; channel++) {
        const x = counts[at + (IMPAIRED[channel] ?? 0)] ?? 0;
        if (x < (MIN_IMPAIRED[channel] ?? 0)) continue;
        isMany = true;
        // A longer span adds nothing to a share of half.
        if (isOutage && LONGER[channel] === 1) continue;
        const isOver = this.#consider(cell, channel);
        if (LONGER[channel] === 0) isOutage = isOver && this.share(cell, channel) >= 0.5;
      }
      if (isMany) this.many[many++] = cell;
    }
    this.manyEnd = many;
  }

  // Whether those that stopped sending are more than those that said that they leave, and than the
  // rest makes probable: where others stop as well, it is something that they have in common.
  #hasVanished(cell: number, channel: number): boolean {
    return this.impaired(cell, channel) >= this.cells.departed(cell, this.#nowMs) &&
      this.exceeds(cell, channel, this.#shareOfRest(cell, channel)) &&
      !this.#areReplaced(cell, channel);
  }

  // The impaired share of all sessions that have nothing in common with a cell; 0 if those are too
  // few to tell.
  #shareOfRest(cell: number, channel: number): number {
    const { regionParent, otherParent } = this.cells;
    const parents = [regionParent[cell] ?? -1, otherParent[cell] ?? -1].filter((each) => each >= 0);
    const outer = parents.length === 0 ? [cell] : parents;
    const rest = (count: (cell: number) => number) => {
      const inside = outer.reduce((sum, each) => sum + count(each), 0);
      // What is in both parents is in the cell.
      return count(ALL) - inside + (parents.length === 2 ? count(cell) : 0);
    };
    const of = rest((each) => this.of(each, channel));
    if (of < ruleOf(channel).minWatching) return 0;
    return rest((each) => this.impaired(each, channel)) / of;
  }

  // Whether those that a cell lost are elsewhere: a new build or title has other sessions of the same
  // devices. Its region, or everything, then has not lost half of them. A part of few viewers is
  // lost in the coming and going of the whole, which tells nothing of it.
  #areReplaced(cell: number, channel: number): boolean {
    if (cell === ALL) return false;
    const whole = Math.max(ALL, this.cells.regionParent[cell] ?? ALL);
    const { audience } = this.baselines();
    const present = this.of(cell, channel) - this.impaired(cell, channel);
    const lost = Math.max(this.impaired(cell, channel), (audience[cell] ?? 0) - present);
    const before = this.baselines().heard(whole);
    return lost >= TELLING_PART * before && before - this.cells.heard(whole) < lost / 2;
  }

  // Lists the cell if it is a candidate; whether it is over its bound.
  #consider(cell: number, channel: number): boolean {
    const kind = this.cells.kinds[cell] ?? 0;
    const signal = SIGNAL_OF_CHANNEL[channel] ?? 0;
    const minShare = SIGNALS[signal]?.minShare[kind] ?? 1;
    const isWeak = this.share(cell, channel) < minShare;
    if (isWeak && (kind >= FIRST_CHILD_KIND || minShare > 1)) return false;
    if (!this.isOver(cell, channel)) return false;
    if (channel === SILENT_CHANNEL && (this.isPartlyDeaf || !this.#hasVanished(cell, channel))) {
      return true;
    }
    const { isLearning } = this.baselines();
    if (isLearning && this.share(cell, channel) < channelOf(channel).outageShare) return true;
    this.lists[signal]?.add(
      cell,
      channel,
      isWeak,
      (than) => this.share(cell, channel) > this.share(cell, than),
    );
    return true;
  }
}

function odds(share: number): number {
  return share >= 1 ? Infinity : share / (1 - share);
}
