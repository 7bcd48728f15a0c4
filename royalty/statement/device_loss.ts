/**
 * How many heartbeats never arrived, as far as `seq` can tell: reported with a statement, never
 * credited. A session numbers its heartbeats; a number that is missing between two that arrived was
 * lost on the device, or is still to come.
 *
 * Exact for {@link MOST_SESSIONS} sessions. When there are more, every session has the same chance
 * of being in a sample of half that size or more, and the figures are scaled up.
 *
 * Pure.
 *
 * @module
 */
import { fnv1aText } from "../../shared/contract/hash.ts";

/** Sessions looked at, about 30 MB of them. */
const MOST_SESSIONS = 100_000;
/** A longer jump is a session that began to count anew: a day has 8,640 heartbeats of ten seconds. */
const LONGEST_LOSS = 8_640;
/** Runs kept of one session: who jumps more often than that sends no count. */
const MOST_RUNS = 500;
const HASHES = 2 ** 32;

export interface DeviceLossEstimate {
  /** Sessions looked at. */
  readonly sessions: number;
  /** The share of all sessions that these are, 1 when they are all. */
  readonly sampled: number;
  /** Heartbeats that arrived at least once, of all sessions. */
  readonly received: number;
  /** Heartbeats missing between those, of all sessions. */
  readonly missing: number;
}

/** Numbers that arrived without one missing between them. */
interface Run {
  first: number;
  last: number;
}

/** One session: the numbers that arrived as runs, ascending. */
interface Session {
  readonly hash: number;
  readonly runs: Run[];
}

/** Takes in the heartbeats of a day, in any order and repeated at will. */
export class DeviceLoss {
  readonly #sessions = new Map<string, Session>();
  /** Sessions with a smaller hash are in the sample. */
  #below = HASHES;

  constructor(readonly mostSessions = MOST_SESSIONS) {}

  add(sessionId: string, seq: number): void {
    const hash = mixed(fnv1aText(sessionId));
    if (hash >= this.#below) return;
    const session = this.#sessions.get(sessionId);
    if (session) return arrive(session.runs, seq);
    this.#sessions.set(sessionId, { hash, runs: [{ first: seq, last: seq }] });
    if (this.#sessions.size > this.mostSessions) this.#halve();
  }

  estimate(): DeviceLossEstimate {
    const sampled = this.#below / HASHES;
    let [received, missing] = [0, 0];
    for (const { runs } of this.#sessions.values()) {
      let before: Run | undefined;
      for (const run of runs) {
        received += run.last - run.first + 1;
        const lost = before ? run.first - before.last - 1 : 0;
        if (lost <= LONGEST_LOSS) missing += lost;
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

  #halve(): void {
    this.#below /= 2;
    for (const [id, { hash }] of this.#sessions) {
      if (hash >= this.#below) this.#sessions.delete(id);
    }
  }
}

// Nearly always the number follows the last one.
function arrive(runs: Run[], seq: number): void {
  // The run that begins at or before `seq`, and the next one, if there are such.
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
  else if (runs.length < MOST_RUNS) runs.splice(at + 1, 0, { first: seq, last: seq });
}

// FNV-1a leaves short ids close together; the last steps of MurmurHash3 spread them.
function mixed(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
