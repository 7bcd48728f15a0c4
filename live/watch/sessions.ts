/**
 * The viewer sessions: one row each, whatever they send.
 *
 * - A session is impaired in a span of 10, 20 or 60 s if it stalled at least 1 s and 10 % of it, or
 *   is rebuffering now; and stuck if it has waited for its first frame for {@link STUCK_MS}.
 *   That holds until its next heartbeat or until it expires.
 * - Time is receipt time; {@link Clocks} tells heartbeats about now from late ones.
 * - A heartbeat that was seen (its `seq` is not above the last, nor its `ts` newer) changes
 *   nothing. A `seq` that goes back with a newer `ts` is a player that started to count again.
 * - A session is steady, and missed when it goes, once it has sent {@link STEADY_BEATS} heartbeats
 *   over {@link STEADY_MS}: one heartbeat is no audience.
 * - A late heartbeat is no evidence, but its session is heard: it is not overdue.
 * - A session without a heartbeat is overdue, then expires and leaves its cells. Time in which too
 *   little was heard of anybody ({@link Hearing}) does not count. Its row stays for
 *   {@link DORMANT_MS}, so that a late upload is known as late and a copy as a copy.
 * - Bounded: when full, of the sessions that expire next the one heard longest ago goes.
 *
 * Pure: the caller passes times, in ms since the epoch.
 *
 * @module
 */
import type { Heartbeat } from "../../shared/contract/event.ts";
import { ALL, BUILD, CDN, type CellTable, DIMENSIONS, FIRST_DIMENSION } from "./cells.ts";
import { ISP, KIND_COUNT, MODEL, REGION, SECOND_DIMENSION, TITLE } from "./cells.ts";
import { OTHER } from "./intern.ts";
import { Clocks, HELD, LATE, ON_TIME } from "./sessions_clock.ts";
import { History, REACH_MS, stalledAfterCut } from "./sessions_history.ts";
import { Hearing } from "./silence.ts";
import { Wheel } from "./sessions_wheel.ts";

/** What a heartbeat says that matters here. */
export type WatchedHeartbeat = Pick<
  Heartbeat,
  | "session_id"
  | "title_id"
  | "region"
  | "seq"
  | "ts"
  | "interval_ms"
  | "state"
  | "played_ms"
  | "rebuffer_ms"
  | "device"
  | "cdn"
  | "isp"
>;

/** Wait for the first frame after which a session is stuck, in ms. */
export const STUCK_MS = 10_000;
/** Time from its begin in which a session counts as starting, in ms. */
export const START_MS = 60_000;
/** Time without a heartbeat after which the row is freed, in ms. */
export const DORMANT_MS = 600_000;
/** Heartbeats about now, and time over which they came in ms, after which a session is steady. */
export const STEADY_BEATS = 3;
/** Least time from its first heartbeat to its last of a steady session, in ms. */
export const STEADY_MS = 20_000;

// Flags of a session; the first eight are counted in its cells, see `COUNTS`.
/** It is watching: in its cells. */
export const WATCHING = 1;
/** It stalled in the last 10 s. */
export const STALLED_10 = 2;
/** It stalled in the last 20 s. */
export const STALLED_20 = 4;
/** It stalled in the last 60 s. */
export const STALLED_60 = 8;
/** It began in the last 60 s, or is stuck. */
export const STARTS = 16;
/** It has waited too long for a first frame. */
export const STUCK = 32;
/** Its heartbeat has not come. */
export const OVERDUE = 64;
/** It has been heard often and long enough to be missed. */
export const STEADY = 128;
const COUNTED = 255;
const STARTING = 256;
const PAUSED = 512;
const STALLED = STALLED_10 | STALLED_20 | STALLED_60;
/** Stalled in any span or stuck. */
export const IMPAIRED = STALLED | STUCK;

/** Cells of a session besides {@link ALL}. */
export const CELL_STRIDE = KIND_COUNT - 1;
const ID_STRIDE = DIMENSIONS.length;

const NOMINAL_INTERVAL_MS = 10_000;
const MAX_INTERVAL_MS = 36_000;
const MIN_EXPIRY_MS = 25_000;
/** The session's own interval is forgotten by this factor a heartbeat when it sends sooner. */
const INTERVAL_DECAY = 0.8;
/** Progress of `ts` that a repeated or lower `seq` needs to be a new heartbeat, in ms. */
const RESTART_STEP_MS = 1_000;
/** A session is new if its first heartbeat here is one of its first. */
const FIRST_SEQS = 2;
const EVICTION_TRIES = 64;
const SHARDS = 16;

/** What happened to heartbeats and sessions since the start. */
export interface SessionCounters {
  heartbeats: number;
  /** About a past that is over. */
  late: number;
  /** From clocks far off that have not yet shown that they run. */
  unconfirmed: number;
  /** Held back and delivered in a burst. */
  held: number;
  /** Seen before, or older than one that was. */
  copies: number;
  /** With a `seq` that went back and a newer `ts`. */
  restarted: number;
  /** Sessions that ended by saying so, that stopped sending, and that never showed a frame. */
  ended: number;
  expired: number;
  neverStarted: number;
  /** Sessions that made room for others. */
  evicted: number;
  /** Sessions not counted until they are heard again: heartbeats were skipped, or none came. */
  unheard: number;
  /** Changes of title, region or another dimension within a session. */
  moved: number;
}

/** The sessions and the cells they are in. */
export class SessionTable {
  readonly counters: SessionCounters = {
    heartbeats: 0,
    late: 0,
    unconfirmed: 0,
    held: 0,
    copies: 0,
    restarted: 0,
    ended: 0,
    expired: 0,
    neverStarted: 0,
    evicted: 0,
    unheard: 0,
    moved: 0,
  };
  /** One more than the highest row ever used. */
  end = 0;
  /** Rows in use, dormant ones included. */
  rows = 0;
  /** Receipt of the newest heartbeat that is about now. */
  newestMs = 0;
  readonly flags: Uint16Array;
  /** Cells of row r from `r * CELL_STRIDE`, by kind − 1; −1 is none. */
  readonly cellIds: Int32Array;
  /** When the session began to be impaired. */
  readonly sinceMs: Float64Array;
  readonly history: History;
  readonly hearing = new Hearing();

  readonly #ids: Int32Array;
  readonly #lastMs: Float64Array;
  readonly #startedMs: Float64Array;
  readonly #seq: Float64Array;
  readonly #intervalMs: Uint16Array;
  /** Heartbeats about now, at most {@link STEADY_BEATS}, and receipt of the first. */
  readonly #beats: Uint8Array;
  /** The stream that it is in. */
  readonly #lane: Uint8Array;
  readonly #firstMs: Float64Array;
  readonly #names: (string | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #byId = Array.from({ length: SHARDS }, () => new Map<string, number>());
  readonly #clocks: Clocks;
  readonly #wheel: Wheel;
  readonly #newCells = new Int32Array(CELL_STRIDE);
  readonly #newIds = new Int32Array(ID_STRIDE);
  /** When stalls were forgiven, by cell, for as long as a heartbeat reaches back. */
  readonly #forgivenMs = new Map<number, number>();
  #newestForgivenMs = -Infinity;

  constructor(readonly cells: CellTable, readonly capacity = 500_000) {
    this.flags = new Uint16Array(capacity);
    this.cellIds = new Int32Array(capacity * CELL_STRIDE).fill(-1);
    this.sinceMs = new Float64Array(capacity);
    this.history = new History(capacity);
    this.#ids = new Int32Array(capacity * ID_STRIDE).fill(-1);
    this.#lastMs = new Float64Array(capacity);
    this.#startedMs = new Float64Array(capacity);
    this.#seq = new Float64Array(capacity);
    this.#intervalMs = new Uint16Array(capacity);
    this.#beats = new Uint8Array(capacity);
    this.#lane = new Uint8Array(capacity);
    this.#firstMs = new Float64Array(capacity);
    this.#clocks = new Clocks(capacity);
    this.#wheel = new Wheel(capacity);
  }

  /** Takes in a heartbeat received at `receivedAtMs` in the stream with the number `lane`. */
  heartbeat(heartbeat: WatchedHeartbeat, receivedAtMs: number, lane = 0): void {
    this.counters.heartbeats += 1;
    let row = this.#rowOf(heartbeat.session_id);
    if (row === undefined) {
      row = this.#create(heartbeat, receivedAtMs);
      this.#lane[row] = lane;
    } else if (this.#wasSeen(row, heartbeat)) return;
    const isBack = (this.#beats[row] ?? 0) > 0 && !this.#isWatching(row);
    const timeliness = this.#clocks.judge(row, receivedAtMs, heartbeat.ts, isBack);
    this.#seq[row] = heartbeat.seq;
    if (timeliness === ON_TIME) {
      this.#noteHeard(row, receivedAtMs);
      this.#takeIn(row, heartbeat, receivedAtMs);
    } else if (timeliness === HELD) {
      this.counters.held += 1;
      this.#takeIn(row, withoutEvidence(heartbeat), receivedAtMs);
    } else {
      if (timeliness === LATE) this.counters.late += 1;
      else this.counters.unconfirmed += 1;
      this.#hear(row, heartbeat, receivedAtMs);
    }
  }

  /**
   * Forgets what the sessions of `cells` stalled until `nowMs`, because what it was part of is over:
   * later heartbeats count with what must have been after it.
   */
  forgive(cells: readonly number[], nowMs: number): void {
    for (const [cell, atMs] of this.#forgivenMs) {
      if (nowMs - atMs > REACH_MS) this.#forgivenMs.delete(cell);
    }
    for (const cell of cells) this.#forgivenMs.set(cell, nowMs);
    this.#newestForgivenMs = nowMs;
    const isAll = cells.includes(ALL);
    for (let row = 0; row < this.end; row++) {
      const flags = this.flags[row] ?? 0;
      const mayStall = (flags & STALLED) !== 0 || this.history.hasStalls(row, nowMs >>> 0);
      if ((flags & WATCHING) === 0 || !mayStall) continue;
      if (!isAll && this.#forgivenAt(row) !== nowMs) continue;
      this.history.clearStalls(row);
      this.#setFlags(row, flags & ~STALLED);
    }
  }

  // When the stalls of a session were forgiven last, −∞ if never.
  #forgivenAt(row: number): number {
    let newestMs = this.#forgivenMs.get(ALL) ?? -Infinity;
    for (let at = row * CELL_STRIDE; at < (row + 1) * CELL_STRIDE; at++) {
      newestMs = Math.max(newestMs, this.#forgivenMs.get(this.cellIds[at] ?? -1) ?? -Infinity);
    }
    return newestMs;
  }

  /**
   * Heartbeats of the stream `lane` were skipped until `toMs`: sessions whose next one was among them
   * count again once they are heard. What they do in between is not known, and no fault of theirs.
   */
  skipped(lane: number, toMs: number): void {
    this.#loseSight((row) =>
      this.#lane[row] === lane && (this.#lastMs[row] ?? 0) + (this.#intervalMs[row] ?? 0) <= toMs
    );
  }

  #loseSight(isUnheard: (row: number) => boolean): void {
    for (let row = 0; row < this.end; row++) {
      if (!this.#isWatching(row) || !isUnheard(row)) continue;
      this.counters.unheard += 1;
      this.#leave(row);
      // It was not away: its next heartbeat is evidence, as that of a new session is.
      this.#beats[row] = 0;
    }
  }

  /** Lets time pass to `nowMs`: sessions become stuck, overdue, expire. */
  advance(nowMs: number): void {
    this.hearing.advance(nowMs, this.cells.steady(ALL));
    if (this.hearing.isCutOff) this.#loseSight(() => true);
    this.#wheel.advance(nowMs, (row) => this.#look(row, nowMs));
  }

  /** Rows watching now. */
  get watching(): number {
    return this.cells.watching(ALL);
  }

  #rowOf(id: string): number | undefined {
    return this.#shard(id).get(id);
  }

  // Maps of a sixteenth each, so that none takes long to grow.
  #shard(id: string): Map<string, number> {
    const shard = this.#byId[id.charCodeAt(id.length - 1) % SHARDS] ?? this.#byId[0];
    if (shard === undefined) throw new Error("there are no shards");
    return shard;
  }

  #wasSeen(row: number, { seq, ts }: WatchedHeartbeat): boolean {
    if (seq > (this.#seq[row] ?? 0)) return false;
    if (ts < this.#clocks.tsMs(row) + RESTART_STEP_MS) {
      this.counters.copies += 1;
      return true;
    }
    this.counters.restarted += 1;
    return false;
  }

  #create(heartbeat: WatchedHeartbeat, nowMs: number): number {
    const row = this.#free.pop() ?? (this.end < this.capacity ? this.end++ : this.#evict());
    this.rows += 1;
    this.flags[row] = 0;
    this.#names[row] = heartbeat.session_id;
    this.#shard(heartbeat.session_id).set(heartbeat.session_id, row);
    this.#lastMs[row] = nowMs;
    this.#intervalMs[row] = NOMINAL_INTERVAL_MS;
    const isNew = heartbeat.seq <= FIRST_SEQS;
    this.#startedMs[row] = isNew ? nowMs - Math.min(heartbeat.interval_ms, REACH_MS) : 0;
    this.#beats[row] = 0;
    this.#clocks.clear(row);
    this.history.clear(row);
    this.#wheel.arm(row, nowMs, nowMs + STUCK_MS);
    return row;
  }

  #evict(): number {
    const row = this.#wheel.takeNext(
      EVICTION_TRIES,
      (row) => (this.#isWatching(row) ? this.#lastMs[row] ?? 0 : 0),
    );
    this.counters.evicted += 1;
    this.#leave(row);
    this.#forget(row);
    return row;
  }

  #forget(row: number): void {
    const name = this.#names[row];
    if (name !== undefined) this.#shard(name).delete(name);
    this.#names[row] = undefined;
    this.rows -= 1;
  }

  #isWatching(row: number): boolean {
    return ((this.flags[row] ?? 0) & WATCHING) !== 0;
  }

  #takeIn(row: number, heartbeat: WatchedHeartbeat, nowMs: number): void {
    if (nowMs > this.newestMs) this.newestMs = nowMs;
    if (heartbeat.state === "ended") {
      if (this.#isWatching(row)) this.#depart(row, nowMs);
      this.#leave(row);
      return;
    }
    this.#lastMs[row] = nowMs;
    this.#intervalMs[row] = Math.min(
      MAX_INTERVAL_MS,
      Math.max(
        heartbeat.interval_ms,
        NOMINAL_INTERVAL_MS,
        INTERVAL_DECAY *
          (this.#intervalMs[row] ?? 0),
      ),
    );
    if (!this.#isWatching(row)) {
      this.#join(row, heartbeat, nowMs);
      this.#wheel.rearm(row, nowMs, nowMs + STUCK_MS);
    } else if (!this.#isSameAudience(row, heartbeat, nowMs)) this.#move(row, heartbeat, nowMs);
    this.#setFlags(row, this.#flagsAfter(row, heartbeat, nowMs));
  }

  // What comes late was held back, which does not show that others are heard now.
  #noteHeard(row: number, nowMs: number): void {
    if (((this.flags[row] ?? 0) & STEADY) === 0 || this.#clocks.latenessMs > 0) return;
    const gapMs = nowMs - (this.#lastMs[row] ?? 0);
    this.hearing.heard(Math.min(Math.max(0, gapMs), this.#intervalMs[row] ?? 0));
  }

  // A heartbeat that is no evidence: its session is there, or has left; its stalls go on ageing.
  #hear(row: number, { state }: WatchedHeartbeat, nowMs: number): void {
    if (!this.#isWatching(row)) return;
    if (state === "ended") {
      this.#depart(row, nowMs);
      this.#leave(row);
      return;
    }
    this.#lastMs[row] = nowMs;
    const now32 = nowMs >>> 0;
    const stalls = this.history.hasStalls(row, now32) ? this.#stalls(row, now32) : 0;
    this.#setFlags(row, (this.flags[row] ?? 0) & ~(STALLED | OVERDUE) | stalls);
  }

  // Notes a heartbeat about now; whether the session is steady.
  #beat(row: number, nowMs: number): boolean {
    const beats = Math.min(STEADY_BEATS, (this.#beats[row] ?? 0) + 1);
    if (beats === 1) this.#firstMs[row] = nowMs;
    this.#beats[row] = beats;
    return beats === STEADY_BEATS && nowMs - (this.#firstMs[row] ?? 0) >= STEADY_MS;
  }

  // Adds what a heartbeat says of stalls. It ended as long ago as it is late.
  #addStall(row: number, { interval_ms, rebuffer_ms }: WatchedHeartbeat, nowMs: number): void {
    const endMs = nowMs - this.#clocks.latenessMs;
    const forgivenMs = nowMs - this.#newestForgivenMs > REACH_MS
      ? -Infinity
      : this.#forgivenAt(row);
    const agoMs = Math.max(0, endMs - forgivenMs);
    const stalledMs = stalledAfterCut(interval_ms, rebuffer_ms, agoMs);
    if (stalledMs === 0) return;
    this.history.addStall(row, endMs >>> 0, Math.min(interval_ms, agoMs), stalledMs);
  }

  // The flags of a session right after a heartbeat; keeps its history.
  #flagsAfter(row: number, heartbeat: WatchedHeartbeat, nowMs: number): number {
    const { state, rebuffer_ms, interval_ms, played_ms } = heartbeat;
    const { history } = this;
    const isSteady = this.#beat(row, nowMs);
    const before = this.flags[row] ?? 0;
    if (played_ms > 0) history.addPlayed(row, nowMs, Math.min(played_ms, REACH_MS));
    if (rebuffer_ms > 0) this.#addStall(row, heartbeat, nowMs);
    let after = isSteady ? WATCHING | STEADY : WATCHING;
    if (state === "starting") after |= STARTING | this.#starting(row, before, interval_ms, nowMs);
    else if (state === "rebuffering") after |= STALLED;
    else if (state === "paused") after |= PAUSED;
    if (nowMs - (this.#startedMs[row] ?? 0) < START_MS) after |= STARTS;
    if ((after & STALLED) === 0 && history.hasStalls(row, nowMs >>> 0)) {
      after |= this.#stalls(row, nowMs >>> 0);
    }
    if ((before & IMPAIRED) === 0 && (after & IMPAIRED) !== 0) {
      const agoMs = after & STUCK ? nowMs - (this.#startedMs[row] ?? 0) : rebuffer_ms;
      this.sinceMs[row] = nowMs - Math.min(agoMs, REACH_MS);
    }
    return after;
  }

  // A session that plays and then waits for a first frame again starts again.
  #starting(row: number, before: number, intervalMs: number, nowMs: number): number {
    const isNew = (before & STARTING) === 0 && (this.#startedMs[row] ?? 0) + STUCK_MS < nowMs;
    if (isNew) this.#startedMs[row] = nowMs - Math.min(intervalMs, STUCK_MS);
    return nowMs - (this.#startedMs[row] ?? 0) >= STUCK_MS ? STUCK | STARTS : STARTS;
  }

  #stalls(row: number, now32: number): number {
    const { history } = this;
    return (history.stalledWithin(row, now32, 10_000) >= 1_000 ? STALLED_10 : 0) |
      (history.stalledWithin(row, now32, 20_000) >= 2_000 ? STALLED_20 : 0) |
      (history.stalledWithin(row, now32, 60_000) >= 6_000 ? STALLED_60 : 0);
  }

  #setFlags(row: number, after: number): void {
    const before = this.flags[row] ?? 0;
    this.flags[row] = after;
    if (((before ^ after) & COUNTED) === 0) return;
    this.#count(this.cellIds, row * CELL_STRIDE, before & COUNTED, after & COUNTED);
  }

  #count(cellIds: Int32Array, from: number, before: number, after: number): void {
    const { cells } = this;
    cells.count(ALL, before, after);
    for (let slot = 0; slot < CELL_STRIDE; slot++) {
      const cell = cellIds[from + slot] ?? -1;
      if (cell >= 0) cells.count(cell, before, after);
    }
  }

  #isSameAudience(row: number, heartbeat: WatchedHeartbeat, nowMs: number): boolean {
    const { region, title_id, cdn, isp, device } = heartbeat;
    const at = row * ID_STRIDE;
    return this.#isValue(REGION, at, region, nowMs) && this.#isValue(TITLE, at, title_id, nowMs) &&
      this.#isValue(CDN, at, cdn, nowMs) && this.#isValue(BUILD, at, device.build, nowMs) &&
      this.#isValue(ISP, at, isp, nowMs) && this.#isValue(MODEL, at, device.model, nowMs);
  }

  #isValue(dimension: number, at: number, value: string | undefined, nowMs: number): boolean {
    const id = this.#ids[at + dimension] ?? -1;
    if (value === undefined || value === "") return id < 0;
    if (id === OTHER) return this.cells.interner(dimension).intern(value, nowMs) === OTHER;
    return id > 0 && this.cells.interner(dimension).is(id, value);
  }

  // The values' numbers, each noted as used, and the cells.
  #resolve(heartbeat: WatchedHeartbeat, nowMs: number): void {
    const { region, title_id, cdn, isp, device } = heartbeat;
    const values = [region, title_id, cdn, device.build, isp, device.model];
    for (let dimension = 0; dimension < ID_STRIDE; dimension++) {
      const value = values[dimension];
      const interner = this.cells.interner(dimension);
      const id = value === undefined || value === "" ? -1 : interner.intern(value, nowMs);
      if (id >= 0) interner.use(id);
      this.#newIds[dimension] = id;
    }
    for (let kind = 1; kind < KIND_COUNT; kind++) {
      const second = SECOND_DIMENSION[kind] ?? -1;
      const a = this.#newIds[FIRST_DIMENSION[kind] ?? 0] ?? -1;
      const b = second < 0 ? 0 : this.#newIds[second] ?? -1;
      this.#newCells[kind - 1] = a < 0 || b < 0 ? -1 : this.cells.cellOf(kind, a, b);
    }
  }

  #join(row: number, heartbeat: WatchedHeartbeat, nowMs: number): void {
    this.#resolve(heartbeat, nowMs);
    this.cellIds.set(this.#newCells, row * CELL_STRIDE);
    this.#ids.set(this.#newIds, row * ID_STRIDE);
    this.flags[row] = 0;
    this.#setFlags(row, WATCHING);
  }

  // What it stalled before was with other company; it is not held against the new.
  #move(row: number, heartbeat: WatchedHeartbeat, nowMs: number): void {
    this.counters.moved += 1;
    const flags = this.flags[row] ?? 0;
    const oldCells = this.cellIds.slice(row * CELL_STRIDE, (row + 1) * CELL_STRIDE);
    const oldIds = this.#ids.slice(row * ID_STRIDE, (row + 1) * ID_STRIDE);
    this.#join(row, heartbeat, nowMs);
    if (oldIds.some((id, dimension) => isChange(id, this.#newIds[dimension] ?? -1))) {
      this.history.clear(row);
    }
    this.#part(oldCells, oldIds, flags & COUNTED);
  }

  #depart(row: number, nowMs: number): void {
    this.counters.ended += 1;
    const isSteady = ((this.flags[row] ?? 0) & STEADY) !== 0;
    this.cells.depart(ALL, nowMs, isSteady);
    for (let at = row * CELL_STRIDE; at < (row + 1) * CELL_STRIDE; at++) {
      const cell = this.cellIds[at] ?? -1;
      if (cell >= 0) this.cells.depart(cell, nowMs, isSteady);
    }
  }

  // Leaves all cells; the row stays.
  #leave(row: number): void {
    const flags = this.flags[row] ?? 0;
    this.flags[row] = 0;
    if ((flags & WATCHING) === 0) return;
    this.history.clear(row);
    this.#part(
      this.cellIds.subarray(row * CELL_STRIDE, (row + 1) * CELL_STRIDE),
      this.#ids.subarray(row * ID_STRIDE, (row + 1) * ID_STRIDE),
      flags & COUNTED,
    );
  }

  // Children first: a cell without sessions is freed, and its parents only after it.
  #part(cellIds: Int32Array, ids: Int32Array, flags: number): void {
    this.#count(cellIds, 0, flags, 0);
    for (let slot = CELL_STRIDE - 1; slot >= 0; slot--) {
      const cell = cellIds[slot] ?? -1;
      if (cell >= 0 && this.cells.watching(cell) === 0) this.cells.freeIfUnused(cell);
    }
    for (let dimension = 0; dimension < ID_STRIDE; dimension++) {
      const id = ids[dimension] ?? -1;
      if (id >= 0) this.cells.interner(dimension).release(id);
    }
  }

  // Looks at a session whose entry is due; when to look again, or −1 once it is forgotten.
  #look(row: number, nowMs: number): number {
    const lastMs = this.#lastMs[row] ?? 0;
    if (!this.#isWatching(row)) {
      if (nowMs < lastMs + DORMANT_MS) return lastMs + DORMANT_MS;
      this.#forget(row);
      this.#free.push(row);
      return -1;
    }
    const intervalMs = this.#intervalMs[row] ?? 0;
    const silentFromMs = lastMs + this.hearing.deafMs(lastMs, nowMs);
    const expiresMs = silentFromMs + Math.max(MIN_EXPIRY_MS, 2.5 * intervalMs);
    if (nowMs >= expiresMs) {
      this.#expire(row);
      return lastMs + DORMANT_MS;
    }
    const overdueMs = silentFromMs + 1.5 * intervalMs + 3_000;
    this.#setFlags(row, this.#flagsWithout(row, nowMs, nowMs >= overdueMs));
    return this.#nextLook(row, nowMs, overdueMs, expiresMs);
  }

  #nextLook(row: number, nowMs: number, overdueMs: number, expiresMs: number): number {
    const flags = this.flags[row] ?? 0;
    const startedMs = this.#startedFromMs(row, nowMs);
    let nextMs = nowMs < overdueMs ? overdueMs : expiresMs;
    if ((flags & (STARTING | STUCK)) === STARTING) nextMs = Math.min(nextMs, startedMs + STUCK_MS);
    if ((flags & (STARTS | STUCK)) === STARTS) nextMs = Math.min(nextMs, startedMs + START_MS);
    return nextMs;
  }

  // When a session began, were the time in which it could not be heard left out.
  #startedFromMs(row: number, nowMs: number): number {
    const startedMs = this.#startedMs[row] ?? 0;
    return startedMs + this.hearing.deafMs(startedMs, nowMs);
  }

  #expire(row: number): void {
    this.counters.expired += 1;
    if ((this.flags[row] ?? 0) & STARTING) this.counters.neverStarted += 1;
    this.#leave(row);
  }

  // The flags that time without a heartbeat gives a session.
  #flagsWithout(row: number, nowMs: number, isOverdue: boolean): number {
    let flags = this.flags[row] ?? 0;
    const startedMs = this.#startedFromMs(row, nowMs);
    if (flags & STARTING && !(flags & STUCK) && nowMs - startedMs >= STUCK_MS) {
      if ((flags & IMPAIRED) === 0) this.sinceMs[row] = startedMs;
      flags |= STUCK;
    }
    if (!(flags & STUCK) && nowMs - startedMs >= START_MS) flags &= ~STARTS;
    if (isOverdue && flags & STEADY && !(flags & PAUSED)) flags |= OVERDUE;
    return flags;
  }
}

// A value that gets or loses its number is the same value.
function isChange(oldId: number, newId: number): boolean {
  return oldId !== newId && oldId !== OTHER && newId !== OTHER;
}

// What was held back says nothing of now but that its session is there.
function withoutEvidence(heartbeat: WatchedHeartbeat): WatchedHeartbeat {
  const state = heartbeat.state === "rebuffering" ? "playing" : heartbeat.state;
  return { ...heartbeat, state, rebuffer_ms: 0, played_ms: 0 };
}
