/**
 * An open incident as the detector sees it: the cells it is known to be in, how bad it was, and
 * whether it is over.
 *
 * Over by recovery: for {@link RECOVER_MS} the shares are near the baseline in every member, on at
 * least half of the audience that it began with. Fewer than that prove nothing: after
 * {@link GONE_MS} of too few the incident is gone, which is not recovery.
 *
 * @module
 */
import { ALL } from "../watch/cells.ts";
import type { Candidates } from "./candidates.ts";
import { CHANNELS, type SignalRule, STUCK_COUNT } from "./channels.ts";
import { COUNT_STRIDE } from "../watch/cells.ts";
import type { Measurement } from "./finding.ts";

const RECOVER_MS = 20_000;
const GONE_MS = 600_000;
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
  readonly joinedMs: number;
  readonly peaks: number[];
  #block = 0;
  #worst = 0;
  #worstBefore = 0;
  #isHeld = false;
  /** Running mean of the share in the longest span, and the seconds noted. */
  #mean = 0;
  #seconds = 0;

  constructor(readonly cell: number, reference: number, nowMs: number, channels: number) {
    this.reference = reference;
    this.joinedMs = nowMs;
    this.peaks = Array.from({ length: channels }, () => 0);
  }

  /**
   * What it explains of cells that share sessions with it: the largest share of the last 40 to
   * 80 s, because parts lag; the largest of all once held.
   */
  explains(): number {
    return this.#isHeld ? Math.max(...this.peaks) : Math.max(this.#worst, this.#worstBefore);
  }

  /** The same cell and figures, for another incident. */
  copy(): Member {
    const copy = new Member(this.cell, this.reference, this.joinedMs, this.peaks.length);
    for (const [i, peak] of this.peaks.entries()) copy.peaks[i] = peak;
    copy.#mean = this.#mean;
    copy.#seconds = this.#seconds;
    return copy;
  }

  /** Lets it explain as much as it ever did: its stalls are still in the windows of others. */
  hold(): void {
    this.#isHeld = true;
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
    const longest = shares[shares.length - 1] ?? 0;
    this.#seconds += 1;
    this.#mean += (longest - this.#mean) / Math.min(this.#seconds, MEAN_SECONDS);
    for (const [i, share] of shares.entries()) {
      this.#worst = Math.max(this.#worst, share);
      this.peaks[i] = Math.max(this.peaks[i] ?? 0, share);
    }
  }

  /** Sessions that are a fair share of its audience. */
  fairSample(nowMs: number): number {
    const decay = 2 ** (-(nowMs - this.joinedMs) / AUDIENCE_HALF_LIFE_MS);
    return Math.max(MIN_FAIR_SAMPLE, this.reference * decay / 2);
  }
}

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
  #wellSinceMs: number | undefined;
  #fewSinceMs: number | undefined;
  readonly #minutes: number[] = [];
  #lastMinuteMs: number;
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
  end(nowMs: number): void {
    this.#endedMs = nowMs;
    for (const member of this.members) member.hold();
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
      return this.#conditionOf(tests, member, shares, nowMs);
    });
    const isIll = conditions.includes("ill");
    const isFew = !isIll && conditions.includes("few");
    this.#wellSinceMs = isIll || isFew ? undefined : this.#wellSinceMs ?? nowMs;
    this.#fewSinceMs = isFew ? this.#fewSinceMs ?? nowMs : undefined;
    if (nowMs - (this.#wellSinceMs ?? nowMs) >= RECOVER_MS) return "recovered";
    // While nobody at all is heard, silence goes on.
    const isKept = this.rule.signal === "silent" && this.cell === ALL;
    if (!isKept && nowMs - (this.#fewSinceMs ?? nowMs) >= GONE_MS) return "gone";
    return isIll && this.#isSteady(tests, nowMs) ? "chronic" : undefined;
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
    const fair = isStart ? MIN_FAIR_SAMPLE : member.fairSample(nowMs);
    if (watching < fair) return "few";
    for (let i = 0; i < this.#spans; i++) {
      const p = tests.baseline(member.cell, rule.first + i);
      const limit = Math.max(2 * p, p + this.#wellPart(member, i, p), 1.01 / watching);
      const isOver = tests.isOver(member.cell, rule.first + i);
      if (isOver && i < SHORT_SPANS) this.#spans = Math.min(rule.count, SHORT_SPANS);
      if ((isOver && i < SHORT_SPANS) || (shares[i] ?? 0) > limit) return "ill";
    }
    return "well";
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
