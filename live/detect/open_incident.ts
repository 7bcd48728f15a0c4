/**
 * An open incident as the detector sees it: the cells it is known to be in, how bad it was, and
 * whether it is over.
 *
 * Over by recovery: for `recoverMs`, at first {@link RECOVER_MS}, the shares are near the baseline in every member, on at
 * least half of the audience that it began with, less those who said that they leave. Fewer than
 * that prove nothing: after {@link GONE_MS} of too few the incident is gone, which is not recovery.
 *
 * Once over it goes on explaining what it left behind:
 * - recovered: the share that was left. Its sessions are forgiven what they stalled until then (see
 *   `SessionTable.forgive`), so a relapse is found as fast as the first time. Sessions that were
 *   overdue or stuck cannot be forgiven: they are explained for {@link STALE_MS};
 * - gone: everything in its cells, until their share is back to usual or their audience to a fair
 *   share: the last viewers of a page are no second page.
 *
 * @module
 */
import { ALL } from "../watch/cells.ts";
import type { Candidates } from "./candidates.ts";
import { mostUsual } from "./chronic.ts";
import { CHANNELS, type SignalRule, STUCK_COUNT } from "./channels.ts";
import { COUNT_STRIDE } from "../watch/cells.ts";
import type { Measurement } from "./finding.ts";

const RECOVER_MS = 20_000;
const MAX_RECOVER_MS = 300_000;
const GONE_MS = 600_000;
/** Time for which what has ended goes on explaining at least. */
const AFTERMATH_MS = 90_000;
/** Time in which most of the sessions that were overdue or stuck at the end expire. */
const STALE_MS = 30_000;
/** An incident steady for this long is chronic. */
const CHRONIC_MS = 3_600_000;
/** Time over which a group's worst share goes on explaining others, in two blocks. */
const EXPLAIN_BLOCK_MS = 40_000;
/** Time constant of the running mean of a share, in s. */
const MEAN_SECONDS = 120;
/** The audience that it is judged against halves in this time, as audiences do by night. */
const AUDIENCE_HALF_LIFE_MS = 2 * 3_600_000;
const MIN_FAIR_SAMPLE = 5;
/** Spans that show an end soon: 10 and 20 s. */
const SHORT_SPANS = 2;
const MINUTE_MS = 60_000;
const STEADY_MINUTES = 30;

/** A cell of an incident. */
export class Member {
  /** Sessions watching when it joined. */
  reference: number;
  readonly #largest: number;
  readonly joinedMs: number;
  readonly peaks: number[];
  #block = 0;
  #worst = 0;
  #worstBefore = 0;
  /** What it explains once its incident has ended. */
  #left: number | undefined;
  /** The shares noted last, and its cell's departures then. */
  #last: readonly number[] = [];
  #departures: number | undefined;
  /** Running mean of the share in the longest span, and the seconds noted. */
  #mean = 0;
  #seconds = 0;

  constructor(readonly cell: number, reference: number, nowMs: number, channels: number) {
    this.reference = reference;
    this.#largest = reference;
    this.joinedMs = nowMs;
    this.peaks = Array.from({ length: channels }, () => 0);
  }

  /**
   * What it explains of cells that share sessions with it: the largest share of the last 40 to
   * 80 s, because parts lag; once ended, what that left.
   */
  explains(): number {
    return this.#left ?? Math.max(this.#worst, this.#worstBefore);
  }

  /** The same of those who leave because of it; they do so after it has ended, too. */
  explainsLeaving(): number {
    return this.#left === undefined ? this.explains() : Math.max(...this.peaks);
  }

  /** The same cell and figures, for another incident. */
  copy(): Member {
    const copy = new Member(this.cell, this.reference, this.joinedMs, this.peaks.length);
    for (const [i, peak] of this.peaks.entries()) copy.peaks[i] = peak;
    copy.#mean = this.#mean;
    copy.#seconds = this.#seconds;
    copy.#block = this.#block;
    copy.#worst = this.#worst;
    copy.#worstBefore = this.#worstBefore;
    copy.#departures = this.#departures;
    return copy;
  }

  /** Notes how its incident ended. */
  end(ending: Ending): void {
    if (ending === "recovered") this.#left = Math.max(0, ...this.#last.slice(0, SHORT_SPANS));
    else this.#left = ending === "gone" ? 1 : Math.max(...this.peaks);
  }

  /** Lets those who said that they leave, and are not replaced, no longer be missed. */
  follow(watching: number, departures: number): void {
    const left = departures - (this.#departures ?? departures);
    this.#departures = departures;
    this.reference = Math.min(this.#largest, Math.max(this.reference - left, watching));
  }

  /** Whether `tests` find levels in it that may become usual. */
  mayBeUsual(tests: Candidates, first: number): boolean {
    return this.#last.every((share, i) => share <= mostUsual(tests.baseline(this.cell, first + i)));
  }

  /** The usual share in the longest span: mean of about the last two minutes. */
  get mean(): number {
    return this.#mean;
  }

  /** Notes the shares of now. */
  note(shares: readonly number[], nowMs: number): void {
    const block = Math.floor(nowMs / EXPLAIN_BLOCK_MS);
    if (block !== this.#block) {
      this.#worstBefore = block === this.#block + 1 ? this.#worst : 0;
      this.#worst = 0;
      this.#block = block;
    }
    this.#last = shares;
    const longest = shares[shares.length - 1] ?? 0;
    this.#seconds += 1;
    this.#mean += (longest - this.#mean) / Math.min(this.#seconds, MEAN_SECONDS);
    for (const [i, share] of shares.entries()) {
      this.#worst = Math.max(this.#worst, share);
      this.peaks[i] = Math.max(this.peaks[i] ?? 0, share);
    }
  }

  /** Sessions that are a fair share of its audience, of which the share `coverage` is counted. */
  fairSample(nowMs: number, coverage: number): number {
    const decay = 2 ** (-(nowMs - this.joinedMs) / AUDIENCE_HALF_LIFE_MS);
    return Math.max(MIN_FAIR_SAMPLE, this.reference * decay * coverage / 2);
  }
}

/** How an incident ends. */
export type Ending = "recovered" | "gone" | "chronic" | "folded";

/** State of a member: still impaired, healthy, or too few sessions to tell. */
type Condition = "ill" | "well" | "few";

/** An incident and its members; the first is the cell that it was opened on. */
export class OpenIncident {
  readonly members: Member[] = [];
  peak: Measurement;
  onsetMs: number;
  /** Impaired sessions and time of the last finding. */
  reportedImpaired: number;
  reportedMs: number;
  #endedMs: number | undefined;
  #ending: Ending | undefined;
  #wellSinceMs: number | undefined;
  #fewSinceMs: number | undefined;
  readonly #minutes: number[] = [];
  #lastMinuteMs: number;
  /** How long it has to be healthy until it has recovered, in ms; see {@link flapsAfter}. */
  recoverMs = RECOVER_MS;
  /** Spans that have to be healthy, from the shortest. */
  #spans: number;

  constructor(
    readonly rule: SignalRule,
    readonly cell: number,
    readonly openedMs: number,
    peak: Measurement,
    onsetMs: number,
  ) {
    // What only the longest span shows is over when that span is; the rest need not wait for it.
    const opened = CHANNELS.findIndex(({ spanMs }, i) => i >= rule.first && spanMs === peak.spanMs);
    this.#spans = Math.min(rule.count, Math.max(SHORT_SPANS, opened - rule.first + 1));
    this.peak = peak;
    this.onsetMs = onsetMs;
    this.reportedImpaired = peak.impaired;
    this.reportedMs = openedMs;
    this.#lastMinuteMs = openedMs;
    this.members.push(new Member(cell, peak.watching, openedMs, rule.count));
  }

  /** When it ended; it goes on explaining for a while. */
  get endedMs(): number | undefined {
    return this.#endedMs;
  }

  /** Notes that it ended. */
  end(nowMs: number, ending: Ending): void {
    this.#endedMs = nowMs;
    this.#ending = ending;
    this.#wellSinceMs = undefined;
    for (const member of this.members) member.end(ending);
  }

  /**
   * Whether its cells are known to be impaired: nothing on them is a candidate. In the second of its
   * end they have yet to be forgiven.
   */
  isGroup(nowMs: number): boolean {
    if (this.#ending !== "recovered" || this.#endedMs === nowMs) return true;
    return this.rule.signal !== "rebuffer" && nowMs - (this.#endedMs ?? nowMs) < STALE_MS;
  }

  /** Whether it no longer explains anything. */
  isOver(tests: Candidates, nowMs: number): boolean {
    if (this.#endedMs === undefined) return false;
    // What took it over explains instead.
    if (this.#ending === "folded") return true;
    if (nowMs - this.#endedMs < AFTERMATH_MS) return false;
    if (this.#ending !== "gone") return true;
    const isBack = this.members.some(({ cell, reference }) =>
      2 * tests.of(cell, this.rule.first) >= Math.max(2 * MIN_FAIR_SAMPLE, reference)
    );
    const isWell = this.members.every((member) => this.#isWell(tests, member));
    this.#wellSinceMs = isWell ? this.#wellSinceMs ?? nowMs : undefined;
    return isBack || nowMs - (this.#wellSinceMs ?? nowMs) >= RECOVER_MS;
  }

  /**
   * Notes that an incident on the same cell recovered shortly before, after `recoverMs` of health:
   * this one needs twice that, at most {@link MAX_RECOVER_MS}.
   */
  flapsAfter(recoverMs: number): void {
    this.recoverMs = Math.min(MAX_RECOVER_MS, 2 * recoverMs);
  }

  /** The channel, of those that show an end soon, with the largest share now. */
  decidingChannel(tests: Candidates): number {
    const shares = sharesOf(tests, this.rule, this.cell).slice(0, SHORT_SPANS);
    return this.rule.first + shares.indexOf(Math.max(...shares));
  }

  /** Notes the shares of now, and returns how the incident ended, if it has. */
  advance(tests: Candidates, nowMs: number): "recovered" | "gone" | "chronic" | undefined {
    if (this.#endedMs !== undefined) return undefined;
    const conditions = this.members.map((member) => {
      const shares = sharesOf(tests, this.rule, member.cell);
      member.note(shares, nowMs);
      const { cell } = member;
      member.follow(tests.of(cell, this.rule.first), tests.cells.departures(cell));
      return this.#conditionOf(tests, member, shares, nowMs);
    });
    const isIll = conditions.includes("ill");
    const isFew = !isIll && conditions.includes("few");
    this.#wellSinceMs = isIll || isFew ? undefined : this.#wellSinceMs ?? nowMs;
    this.#fewSinceMs = isFew ? this.#fewSinceMs ?? nowMs : undefined;
    if (nowMs - (this.#wellSinceMs ?? nowMs) >= this.recoverMs) return "recovered";
    // While nobody at all is heard, silence goes on.
    const isKept = this.rule.signal === "silent" && this.cell === ALL;
    if (!isKept && nowMs - (this.#fewSinceMs ?? nowMs) >= GONE_MS) return "gone";
    const isChronic = isIll && this.#isSteady(tests, nowMs) &&
      this.members.every((member) => member.mayBeUsual(tests, this.rule.first));
    return isChronic ? "chronic" : undefined;
  }

  #conditionOf(
    tests: Candidates,
    member: Member,
    shares: readonly number[],
    nowMs: number,
  ): Condition {
    const { rule } = this;
    const watching = tests.of(member.cell, rule.first);
    const isStart = rule.signal === "start";
    // Starts are few once an outage has passed; a handful of good ones tells.
    const fair = isStart ? MIN_FAIR_SAMPLE : member.fairSample(nowMs, tests.coverage);
    if (watching < fair) return "few";
    return this.#isWell(tests, member, shares) ? "well" : "ill";
  }

  #isWell(
    tests: Candidates,
    member: Member,
    shares: readonly number[] = sharesOf(tests, this.rule, member.cell),
  ): boolean {
    const { rule } = this;
    const watching = Math.max(1, tests.of(member.cell, rule.first));
    for (let i = 0; i < this.#spans; i++) {
      const p = tests.baseline(member.cell, rule.first + i);
      const limit = Math.max(2 * p, p + this.#wellPart(member, i, p), 1.01 / watching);
      const isOver = tests.isOver(member.cell, rule.first + i);
      if (isOver && i < SHORT_SPANS) this.#spans = Math.min(rule.count, SHORT_SPANS);
      if ((isOver && i < SHORT_SPANS) || (shares[i] ?? 0) > limit) return false;
    }
    return true;
  }

  // Excess that still is health: a fifth of the peak's. The longest span remembers a minute, so
  // half of its usual excess shows that nothing new came.
  #wellPart(member: Member, i: number, p: number): number {
    const part = 0.2 * ((member.peaks[i] ?? 0) - p);
    return i < SHORT_SPANS ? part : Math.max(part, 0.5 * (member.mean - p));
  }

  // Whether the share has been the same for half an hour, after an hour.
  #isSteady(tests: Candidates, nowMs: number): boolean {
    if (this.rule.signal === "silent") return false;
    while (nowMs - this.#lastMinuteMs >= MINUTE_MS) {
      this.#lastMinuteMs += MINUTE_MS;
      const shares = sharesOf(tests, this.rule, this.cell);
      this.#minutes.push(shares[shares.length - 1] ?? 0);
      if (this.#minutes.length > STEADY_MINUTES) this.#minutes.shift();
    }
    if (nowMs - this.openedMs < CHRONIC_MS || this.#minutes.length < STEADY_MINUTES) return false;
    const mean = this.#minutes.reduce((sum, share) => sum + share, 0) / STEADY_MINUTES;
    return Math.min(...this.#minutes) >= mean / 2 && Math.max(...this.#minutes) <= mean * 1.5;
  }
}

/** The impaired shares of `cell` by channel of the rule; see {@link impairedOf}. */
export function sharesOf(tests: Candidates, rule: SignalRule, cell: number): number[] {
  return Array.from({ length: rule.count }, (_, i) => {
    const of = tests.of(cell, rule.first + i);
    return of === 0 ? 0 : impairedOf(tests, rule, cell, rule.first + i) / of;
  });
}

/**
 * Impaired sessions of `cell`: for rebuffering those that wait for a first frame count too, because
 * an audience that has to start again has not recovered.
 */
export function impairedOf(
  tests: Candidates,
  rule: SignalRule,
  cell: number,
  channel: number,
): number {
  const impaired = tests.impaired(cell, channel);
  if (rule.signal !== "rebuffer") return impaired;
  const stuck = tests.cells.counts[cell * COUNT_STRIDE + STUCK_COUNT] ?? 0;
  return Math.min(tests.of(cell, channel), impaired + stuck);
}
