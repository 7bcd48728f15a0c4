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

/** One session: the numbers that arrived as runs `first, last, first, last, …`, ascending. */
interface Session {
  readonly hash: number;
  readonly runs: number[];
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
    this.#sessions.set(sessionId, { hash, runs: [seq, seq] });
    if (this.#sessions.size > this.mostSessions) this.#halve();
  }

  estimate(): DeviceLossEstimate {
    const sampled = this.#below / HASHES;
    let [received, missing] = [0, 0];
    for (const { runs } of this.#sessions.values()) {
      for (let i = 0; i < runs.length; i += 2) {
        received += runs[i + 1] - runs[i] + 1;
        const lost = i === 0 ? 0 : runs[i] - runs[i - 1] - 1;
        if (lost <= LONGEST_LOSS) missing += lost;
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
function arrive(runs: number[], seq: number): void {
  let at = runs.length - 2;
  while (at >= 0 && runs[at] > seq) at -= 2;
  // The run that begins at or before `seq`, if there is one.
  if (at >= 0 && seq <= runs[at + 1]) return;
  const joinsBefore = at >= 0 && runs[at + 1] === seq - 1;
  const joinsAfter = runs[at + 2] === seq + 1;
  if (joinsBefore && joinsAfter) runs.splice(at + 1, 2);
  else if (joinsBefore) runs[at + 1] = seq;
  else if (joinsAfter) runs[at + 2] = seq;
  else if (runs.length < 2 * MOST_RUNS) runs.splice(at + 2, 0, seq, seq);
}

// FNV-1a leaves short ids close together; the last steps of MurmurHash3 spread them.
function mixed(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
