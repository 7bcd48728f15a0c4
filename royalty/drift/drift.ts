/**
 * Compares the totals per interval that live and royalty report for a stream.
 *
 * Both read the same messages, so without a fault the totals are equal (see
 * `shared/contract/totals.ts`). A difference means that one of them missed messages or judges them
 * differently. It is reported to on-call and changes no statement.
 *
 * Pure.
 *
 * @module
 */
import type { PipelineAlert } from "../../shared/contract/alert.ts";
import type { IntervalTotals } from "../../shared/contract/totals.ts";

/** When a difference is a drift. */
export interface DriftRules {
  /** Maximum difference, as a share of the larger side, 0 to 1. */
  readonly limit: number;
  /** Minimum events per sample; intervals are merged until they have that many. */
  readonly minEvents: number;
  /** Consecutive samples above the limit that open an incident. */
  readonly openAfter: number;
  /** Consecutive samples within the limit that resolve it. */
  readonly resolveAfter: number;
  /** Maximum intervals of one side that wait for the other; then the oldest stays uncompared. */
  readonly maxWaiting: number;
}

/** The service that reported a total. */
export type Side = "live" | "royalty";

/** Events read and the sum of their `played_ms`. */
export interface Reading {
  readonly events: number;
  readonly playedMs: number;
}

/** Consecutive intervals with enough events to be compared. */
export interface Sample {
  /** Start of the first and of the last interval, ms since the epoch. */
  readonly from: number;
  readonly to: number;
  readonly live: Reading;
  readonly royalty: Reading;
  /** The relative difference, 0 to 1: of events or of ms, whichever is larger. */
  readonly share: number;
}

/** `steady`: neither enough samples above the limit nor enough within it. */
export type Standing = "drifting" | "agreeing" | "steady";

/** A sample and the standing after it. */
export interface DriftVerdict {
  readonly sample: Sample;
  readonly standing: Standing;
}

const NOTHING: Reading = { events: 0, playedMs: 0 };

/** Compares the two sides of one stream. */
export class Drift {
  /** Intervals compared so far. */
  compared = 0;
  /** Intervals not compared, because one side had not read all of them. */
  uncompared = 0;
  readonly #waiting: Readonly<Record<Side, IntervalTotals[]>> = { live: [], royalty: [] };
  #open: OpenSample | undefined;
  #beyond = 0;
  #within = 0;

  constructor(readonly rules: DriftRules) {}

  /** Intervals of royalty that live has not reported yet. */
  get waiting(): number {
    return this.#waiting.royalty.length;
  }

  /**
   * Adds the totals of an interval that `side` finished, in ascending order per side; returns the
   * verdicts that this makes possible.
   */
  add(side: Side, totals: IntervalTotals): DriftVerdict[] {
    const own = this.#waiting[side];
    const newest = own.at(-1);
    // The stream was recreated or its clock set back: waiting intervals will find no match.
    if (newest && totals.from <= newest.from) this.uncompared += own.splice(0).length;
    own.push(totals);
    if (own.length > this.rules.maxWaiting) {
      own.shift();
      this.uncompared += 1;
    }
    return this.#match();
  }

  // Merges two ascending lists: an interval is compared once the other side has reached or passed it.
  #match(): DriftVerdict[] {
    const { live, royalty } = this.#waiting;
    const verdicts: DriftVerdict[] = [];
    for (;;) {
      const [nextLive] = live;
      const [nextRoyalty] = royalty;
      if (nextLive === undefined || nextRoyalty === undefined) return verdicts;
      const from = Math.min(nextLive.from, nextRoyalty.from);
      const ofLive = readingOf(nextLive, from);
      const ofRoyalty = readingOf(nextRoyalty, from);
      if (nextLive.from === from) live.shift();
      if (nextRoyalty.from === from) royalty.shift();
      const verdict = ofLive && ofRoyalty && this.#compare(from, ofLive, ofRoyalty);
      if (verdict) verdicts.push(verdict);
      if (!ofLive || !ofRoyalty) this.uncompared += 1;
    }
  }

  #compare(from: number, live: Reading, royalty: Reading): DriftVerdict | undefined {
    this.compared += 1;
    this.#open = extendSample(this.#open, from, live, royalty);
    if (this.#open.larger.events < this.rules.minEvents) return undefined;
    const sample = sampleOf(this.#open);
    this.#open = undefined;
    return { sample, standing: this.#judge(sample) };
  }

  #judge({ share }: Sample): Standing {
    const isBeyond = share > this.rules.limit;
    this.#beyond = isBeyond ? this.#beyond + 1 : 0;
    this.#within = isBeyond ? 0 : this.#within + 1;
    if (this.#beyond >= this.rules.openAfter) return "drifting";
    return this.#within >= this.rules.resolveAfter ? "agreeing" : "steady";
  }
}

// For an earlier interval, totals only say whether nothing was read in it.
function readingOf({ from, quietSinceMs, ...reading }: IntervalTotals, at: number) {
  if (at === from) return reading;
  return quietSinceMs <= at ? NOTHING : undefined;
}

/** A sample that has too few events yet. */
interface OpenSample extends Omit<Sample, "share"> {
  /** Sum of absolute differences per interval, so that they cannot cancel out. */
  readonly difference: Reading;
  /** Sum of the larger side per interval. */
  readonly larger: Reading;
}

function extendSample(
  open: OpenSample | undefined,
  from: number,
  live: Reading,
  royalty: Reading,
): OpenSample {
  const larger = combine(live, royalty, Math.max);
  const difference = combine(live, royalty, (a, b) => Math.abs(a - b));
  if (!open) return { from, to: from, live, royalty, difference, larger };
  return {
    from: open.from,
    to: from,
    live: combine(open.live, live, sum),
    royalty: combine(open.royalty, royalty, sum),
    difference: combine(open.difference, difference, sum),
    larger: combine(open.larger, larger, sum),
  };
}

function sampleOf({ from, to, live, royalty, difference, larger }: OpenSample): Sample {
  const ofEvents = difference.events / Math.max(larger.events, 1);
  const ofMs = difference.playedMs / Math.max(larger.playedMs, 1);
  return { from, to, live, royalty, share: Math.max(ofEvents, ofMs) };
}

function combine(a: Reading, b: Reading, by: (a: number, b: number) => number): Reading {
  return { events: by(a.events, b.events), playedMs: by(a.playedMs, b.playedMs) };
}

function sum(a: number, b: number): number {
  return a + b;
}

/** `what` of the alert and last token of its subject: `alerts.pipeline.drift`. */
export const DRIFT = "drift";

/**
 * The alert to publish after a verdict on `stream`, or undefined. At most one incident is open at a
 * time; it is resolved by the stream that opened it.
 *
 * @param limit the limit of {@link DriftRules}
 * @param last the newest alert on the subject, from any process
 * @param nowMs ms since the epoch
 */
export function driftAlert(
  stream: string,
  { sample, standing }: DriftVerdict,
  limit: number,
  last: PipelineAlert | undefined,
  nowMs: number,
): PipelineAlert | undefined {
  const common = {
    v: 1,
    kind: "pipeline",
    what: DRIFT,
    // Not urgent: statements come from royalty alone.
    severity: "ticket",
    at: nowMs,
    value: sample.share,
    limit,
  } as const;
  const open = last?.status === "open" ? last : undefined;
  if (standing === "drifting" && !open) {
    return {
      ...common,
      incident_id: `${prefixOf(stream)}${nowMs}`,
      status: "open",
      opened_at: nowMs,
      summary: `Live and royalty differ on ${stream}: ${sampleText(sample)}`,
    };
  }
  if (standing === "agreeing" && open?.incident_id.startsWith(prefixOf(stream))) {
    return {
      ...common,
      incident_id: open.incident_id,
      status: "resolved",
      opened_at: open.opened_at,
      summary: `Live and royalty agree on ${stream} again: ${sampleText(sample)}`,
    };
  }
}

function prefixOf(stream: string): string {
  return `${DRIFT}:${stream}:`;
}

function sampleText({ from, to, live, royalty, share }: Sample): string {
  const since = new Date(from).toISOString();
  const until = to === from ? "" : ` to ${new Date(to).toISOString()}`;
  const text = ({ events, playedMs }: Reading) => `${events} events and ${playedMs} ms`;
  return `${(share * 100).toFixed(2)} % in the interval of ${since}${until}; ` +
    `live read ${text(live)}, royalty ${text(royalty)}`;
}
