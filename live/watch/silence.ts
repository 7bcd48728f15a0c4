/**
 * What it means that heartbeats do not come.
 *
 * - None at all is told ({@link SilenceDetector}): absence of data is not health.
 * - Where most of what is due does not come, from whomever, it is not the viewers that stopped but
 *   something between them and here: that time is no silence of theirs ({@link Hearing}).
 *
 * Pure: times are arguments.
 *
 * @module
 */

/** Time of which the heartbeats are compared with those due, in ms: a usual interval. */
const HEARING_MS = 10_000;
/** Share of what is due that has to be heard. A cell with less of its viewers is silent. */
const MIN_HEARD_SHARE = 0.4;
/** With fewer sessions nobody can be silent, and what is due of them comes unevenly. */
const MIN_DUE_SESSIONS = 20;
/** Longest time at once that is no silence, in ms; if some are heard, the others are silent then. */
const MAX_DEAF_MS = 60_000;
/** Time after which it no longer matters when too little was heard, in ms. */
const REMEMBERED_MS = 600_000;

/** What was due and what was heard until a time, in ms of sessions. */
interface Heard {
  readonly toMs: number;
  readonly dueMs: number;
  readonly heardMs: number;
}

/** A time in which too little was heard. */
interface Deaf {
  readonly fromMs: number;
  toMs: number;
}

/**
 * Tells the times in which too little was heard for anybody's silence to be noticed.
 *
 * Of n sessions n ms are due in each ms, whatever their intervals; a heartbeat makes up for the time
 * since the one before. Times are receipts, ms since the epoch.
 */
export class Hearing {
  #heardMs = 0;
  #lastMs: number | undefined;
  #window: Heard[] = [];
  /** When too little was heard, the oldest first. */
  #deaf: Deaf[] = [];
  /** The last of them while it goes on. */
  #now: Deaf | undefined;

  /** Notes a heartbeat that came on time, `gapMs` after the one before of its session. */
  heard(gapMs: number): void {
    this.#heardMs += gapMs;
  }

  /** Lets time pass to `nowMs`, in which heartbeats of `sessions` were due. */
  advance(nowMs: number, sessions: number): void {
    const fromMs = this.#lastMs ?? nowMs;
    this.#lastMs = nowMs;
    this.#window = this.#window.filter(({ toMs }) => toMs > nowMs - HEARING_MS);
    this.#window.push({ toMs: nowMs, dueMs: sessions * (nowMs - fromMs), heardMs: this.#heardMs });
    this.#heardMs = 0;
    if (sessions < MIN_DUE_SESSIONS || this.#isHeard()) this.#now = undefined;
    else {
      this.#now ??= this.#begin(fromMs);
      this.#now.toMs = Math.min(nowMs, this.#now.fromMs + MAX_DEAF_MS);
    }
  }

  /** Whether too little is heard now. */
  get isDeaf(): boolean {
    return this.#now !== undefined;
  }

  /**
   * Whether nothing at all has been heard for so long that the sessions are not known any more. That
   * is told as such, and nobody can say whose silence it is.
   */
  get isCutOff(): boolean {
    const { fromMs, toMs } = this.#now ?? { fromMs: 0, toMs: 0 };
    return toMs - fromMs >= MAX_DEAF_MS && this.#window.every(({ heardMs }) => heardMs === 0);
  }

  /** Of the time from `fromMs` to `toMs`, that in which too little was heard. */
  deafMs(fromMs: number, toMs: number): number {
    return this.#deaf.reduce(
      (sum, deaf) => sum + Math.max(0, Math.min(toMs, deaf.toMs) - Math.max(fromMs, deaf.fromMs)),
      0,
    );
  }

  #isHeard(): boolean {
    const dueMs = this.#window.reduce((sum, each) => sum + each.dueMs, 0);
    const heardMs = this.#window.reduce((sum, each) => sum + each.heardMs, 0);
    return heardMs >= MIN_HEARD_SHARE * dueMs;
  }

  // It began when what is missing in the window did.
  #begin(nowMs: number): Deaf {
    this.#deaf = this.#deaf.filter(({ toMs }) => toMs > nowMs - REMEMBERED_MS);
    const missingMs = (1 - MIN_HEARD_SHARE) * HEARING_MS;
    const fromMs = Math.max(this.#deaf.at(-1)?.toMs ?? -Infinity, nowMs - missingMs);
    const deaf = { fromMs, toMs: nowMs };
    this.#deaf.push(deaf);
    return deaf;
  }
}

/** Reports when no heartbeat has arrived for `afterMs`, after at least one has. */
export class SilenceDetector {
  #lastHeartbeatMs?: number;

  /** @param open Whether an earlier process has reported silence that has not ended. */
  constructor(readonly afterMs: number, public open = false) {}

  /** Notes that heartbeats arrived, or that some had arrived before this process started. */
  heartbeatSeen(nowMs: number): void {
    this.#lastHeartbeatMs = nowMs;
  }

  /** Returns the change since the last check: silence began, or ended; else undefined. */
  check(nowMs: number): "opened" | "resolved" | undefined {
    if (this.#lastHeartbeatMs === undefined) return undefined;
    const isSilent = nowMs - this.#lastHeartbeatMs >= this.afterMs;
    if (isSilent === this.open) return undefined;
    this.open = isSilent;
    return isSilent ? "opened" : "resolved";
  }
}
