/**
 * Whether live and royalty have read the same of a stream: their totals of each interval, compared.
 *
 * Both read the same messages, so in good health there is no difference at all (see
 * `shared/totals.ts`). What there may be is a reader that missed messages, or one that judges them
 * otherwise; both are news for on-call and neither is a figure.
 *
 * Pure.
 *
 * @module
 */
import type { PipelineAlert } from "../../shared/contract/alert.ts";
import type { IntervalTotals } from "../../shared/contract/totals.ts";

export interface DriftRules {
  /** Share of the larger side, 0 to 1, that the two may be apart. */
  readonly limit: number;
  /** Intervals are taken together until they hold so many events: one of three says nothing. */
  readonly minEvents: number;
  /** So many samples in a row beyond the limit are a drift; one may be a restart of a server. */
  readonly openAfter: number;
  /** So many in a row within the limit are the end of it. */
  readonly resolveAfter: number;
  /** Intervals of either side that wait for the other; beyond it the oldest goes uncompared. */
  readonly maxWaiting: number;
}

/** Who read: live, or royalty itself. */
export type Side = "live" | "royalty";

/** Events and ms that were read. */
export interface Reading {
  readonly events: number;
  readonly playedMs: number;
}

/** Some intervals in which both sides together say enough. */
export interface Sample {
  /** Start of the first and of the last interval, ms since the epoch. */
  readonly from: number;
  readonly to: number;
  readonly live: Reading;
  readonly royalty: Reading;
  /** How far the two are apart, as a share of the larger: of events or of ms, whichever is more. */
  readonly share: number;
}

/** `steady` when a few samples more have to decide. */
export type Standing = "drifting" | "agreeing" | "steady";

/** What a sample says. */
export interface DriftVerdict {
  readonly sample: Sample;
  readonly standing: Standing;
}

const NOTHING: Reading = { events: 0, playedMs: 0 };

/** The comparison of one stream. */
export class Drift {
  /** Intervals compared. */
  compared = 0;
  /** Intervals that the other side did not read from start to end, because it began later. */
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

  /** `side` has finished an interval, in the order of time; returns what can be said now. */
  add(side: Side, totals: IntervalTotals): DriftVerdict[] {
    const own = this.#waiting[side];
    const newest = own.at(-1);
    // The stream was made anew, or its clock put back: what waits will not be matched any more.
    if (newest && totals.from <= newest.from) this.uncompared += own.splice(0).length;
    own.push(totals);
    if (own.length > this.rules.maxWaiting) {
      own.shift();
      this.uncompared += 1;
    }
    return this.#match();
  }

  // A merge of two ascending lists: an interval is decided once the other side has passed it.
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
    this.#open = extended(this.#open, from, live, royalty);
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

// Of an earlier interval than its own, totals can say only that nothing was read in it.
function readingOf({ from, quietSince, ...reading }: IntervalTotals, at: number) {
  if (at === from) return reading;
  return quietSince <= at ? NOTHING : undefined;
}

/** Differences are summed without their sign, so that one cannot hide another. */
interface OpenSample extends Omit<Sample, "share"> {
  readonly apart: Reading;
  readonly larger: Reading;
}

function extended(
  open: OpenSample | undefined,
  from: number,
  live: Reading,
  royalty: Reading,
): OpenSample {
  const larger = both(live, royalty, Math.max);
  const apart = both(live, royalty, (a, b) => Math.abs(a - b));
  if (!open) return { from, to: from, live, royalty, apart, larger };
  return {
    from: open.from,
    to: from,
    live: both(open.live, live, sum),
    royalty: both(open.royalty, royalty, sum),
    apart: both(open.apart, apart, sum),
    larger: both(open.larger, larger, sum),
  };
}

function sampleOf({ from, to, live, royalty, apart, larger }: OpenSample): Sample {
  const ofEvents = apart.events / Math.max(larger.events, 1);
  const ofMs = apart.playedMs / Math.max(larger.playedMs, 1);
  return { from, to, live, royalty, share: Math.max(ofEvents, ofMs) };
}

function both(a: Reading, b: Reading, of: (a: number, b: number) => number): Reading {
  return { events: of(a.events, b.events), playedMs: of(a.playedMs, b.playedMs) };
}

function sum(a: number, b: number): number {
  return a + b;
}

/** `alerts.pipeline.<this>`. */
export const DRIFT = "drift";

/**
 * The alert that `verdict` on `stream` makes necessary, if any. One incident is open at a time, and
 * it ends with the stream that it names.
 *
 * @param last the newest alert of the subject, whoever published it
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
    // Whatever live shows, statements come from royalty alone: it can wait for the morning.
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
      summary: `Live and royalty differ on ${stream}: ${described(sample)}`,
    };
  }
  if (standing === "agreeing" && open?.incident_id.startsWith(prefixOf(stream))) {
    return {
      ...common,
      incident_id: open.incident_id,
      status: "resolved",
      opened_at: open.opened_at,
      summary: `Live and royalty agree on ${stream} again: ${described(sample)}`,
    };
  }
}

function prefixOf(stream: string): string {
  return `${DRIFT}:${stream}:`;
}

function described({ from, to, live, royalty, share }: Sample): string {
  const since = new Date(from).toISOString();
  const until = to === from ? "" : ` to ${new Date(to).toISOString()}`;
  const said = ({ events, playedMs }: Reading) => `${events} events and ${playedMs} ms`;
  return `${(share * 100).toFixed(2)} % in the interval of ${since}${until}; ` +
    `live read ${said(live)}, royalty ${said(royalty)}`;
}
