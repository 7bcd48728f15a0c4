/**
 * Estimates from `seq` how many heartbeats never arrived. The estimate is reported with a statement
 * and never credited. A session numbers its heartbeats; a number missing between two that arrived
 * was lost on the device, or arrives later.
 *
 * Exact up to {@link MAX_SESSIONS} sessions. Beyond that, sessions are sampled by hash: at least
 * half of that number are kept, and the figures are scaled up.
 *
 * Pure.
 *
 * @module
 */
import { fnv1aText } from "../../shared/contract/hash.ts";

/** Sessions kept in memory, about 30 MB. */
const MAX_SESSIONS = 100_000;
/**
 * A longer jump of `seq` is taken for a restarted count and not for a loss: a day has 8,640
 * heartbeats of ten seconds.
 */
const MAX_MISSING_HEARTBEATS = 8_640;
/** Runs kept per session; a device with more jumps does not count its heartbeats. */
const MAX_RUNS = 500;
const HASHES = 2 ** 32;

/** The estimate for one day. */
export interface DeviceLossEstimate {
  /** Sessions in the sample. */
  readonly sessions: number;
  /** Share of all sessions that are in the sample; 1 when all are. */
  readonly sampled: number;
  /** Distinct heartbeats that arrived, scaled to all sessions. */
  readonly received: number;
  /** Heartbeats missing between those, scaled to all sessions. */
  readonly missing: number;
}

/** Consecutive numbers that all arrived. */
interface Run {
  first: number;
  last: number;
}

/** One session: the numbers that arrived, as ascending runs. */
interface Session {
  readonly hash: number;
  readonly runs: Run[];
}

/** Estimates the device loss of a day. Order and repetition of heartbeats do not matter. */
export class DeviceLoss {
  readonly #sessions = new Map<string, Session>();
  /** Sessions with a smaller hash are in the sample. */
  #hashLimit = HASHES;

  constructor(readonly maxSessions = MAX_SESSIONS) {}

  /** Adds one heartbeat. */
  add(sessionId: string, seq: number): void {
    const hash = mixHash(fnv1aText(sessionId));
    if (hash >= this.#hashLimit) return;
    const session = this.#sessions.get(sessionId);
    if (session) return addToRuns(session.runs, seq);
    this.#sessions.set(sessionId, { hash, runs: [{ first: seq, last: seq }] });
    if (this.#sessions.size > this.maxSessions) this.#halveSample();
  }

  /** The estimate for the heartbeats added so far. */
  estimate(): DeviceLossEstimate {
    const sampled = this.#hashLimit / HASHES;
    let [received, missing] = [0, 0];
    for (const { runs } of this.#sessions.values()) {
      let before: Run | undefined;
      for (const run of runs) {
        received += run.last - run.first + 1;
        const lost = before ? run.first - before.last - 1 : 0;
        if (lost <= MAX_MISSING_HEARTBEATS) missing += lost;
        before = run;
      }
    }
    return {
      sessions: this.#sessions.size,
      sampled,
      received: Math.round(received / sampled),
      missing: Math.round(missing / sampled),
    };
  }

  #halveSample(): void {
    this.#hashLimit /= 2;
    for (const [id, { hash }] of this.#sessions) {
      if (hash >= this.#hashLimit) this.#sessions.delete(id);
    }
  }
}

// Searches from the end: `seq` nearly always follows the last run.
function addToRuns(runs: Run[], seq: number): void {
  // The last run that begins at or before `seq`, and the run after it.
  let before: Run | undefined;
  let after: Run | undefined;
  let at = runs.length - 1;
  for (; at >= 0; at--) {
    before = runs[at];
    if (!before || before.first <= seq) break;
    after = before;
    before = undefined;
  }
  if (before && seq <= before.last) return;
  if (before?.last === seq - 1) {
    before.last = seq;
    if (after?.first !== seq + 1) return;
    before.last = after.last;
    runs.splice(at + 1, 1);
  } else if (after?.first === seq + 1) after.first = seq;
  else if (runs.length < MAX_RUNS) runs.splice(at + 1, 0, { first: seq, last: seq });
}

// FNV-1a hashes of short ids are close together; the finalizer of MurmurHash3 spreads them.
function mixHash(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
