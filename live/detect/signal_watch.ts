/**
 * Decides, for one signal, which incidents open, grow and end.
 *
 * Each second, of the cells over their bound:
 * 1. those that open incidents explain are left out: the share that is expected of a cell is the
 *    mean over its sessions of max(p, share of any open group that the session is in), of each
 *    group the worst share of the last minute, because parts lag;
 * 2. of the rest the one with the largest n · KL(x/n ‖ expected) is the cause: the likelihood ratio
 *    of Kulldorff's scan statistic (Commun. Stat. Theory Methods 26, 1997). Parents that are as
 *    improbable may be chosen although their share is small, so that a fault of a CDN is not
 *    called one of its first region. A part of the cause with a larger statistic is the cause,
 *    improbable by itself or not: the parent of many crosses its bound before a single title does;
 * 3. it becomes an incident, or part of a recent one that it is a relative of (other recent ones
 *    inside it end as folded into that), and what it explains
 *    of the rest is left out; at most {@link MAX_ROUNDS} times a second. A cell that overlaps with
 *    it only partly waits a second, to be judged knowing it.
 * What has ended goes on explaining what it left behind; see `open_incident.ts`.
 * A cell that opens again within {@link FLAP_MS} of its recovery has to be healthy for twice as long
 * as before until it recovers (20, 40, 80, 160, 300 s), so that a fault that comes and goes becomes
 * one incident.
 *
 * @module
 */
import { ALL, type CellTable, KINDS } from "../watch/cells.ts";
import type { CandidateList, Candidates } from "./candidates.ts";
import { channelOf, type SignalRule } from "./channels.ts";
import { Member, OpenIncident, sharesOf } from "./open_incident.ts";
import { largestPart, type Passes } from "./passes.ts";
import { isRelative, overlap } from "./relation.ts";
import { Groups, type OutsideCounts } from "./groups.ts";
import { excessOf, type FindingReason, isWorse, type Measurement } from "./finding.ts";

const MAX_ROUNDS = 6;
/** Age until which a relative is part of an incident and not one of its own. */
const RELATIVE_MS = 900_000;
/** Age until which another slice of the same region, such as an ISP beside a CDN, is the same cause. */
const SLICE_RELATIVE_MS = 30_000;
/** Times the excess viewers of an incident from which a relative is a page of its own. */
const OUTGROWN_FACTOR = 3;
/** Age of an incident until which a relative is part of it whatever its size: both still grow. */
const GROWING_MS = 30_000;
/** Time after a recovery in which the same cell opens as one that flaps. */
const FLAP_MS = 900_000;
/**
 * What a part has to have more than the whole to be called the cause: the best of some twenty slices
 * has about ln 20 nats more by chance, and two more make it likely.
 */
const PARENT_MARGIN_NATS = 5;
/** Most cells of an incident; further relatives are still explained by their own. */
const MAX_MEMBERS = 32;
/** Most open incidents of a signal; and most incidents, ended ones that still explain included. */
const MAX_INCIDENTS = 1_000;
const MAX_KEPT = 2 * MAX_INCIDENTS;
/** Least time between two updates that say that viewers doubled or halved. */
const UPDATE_INTERVAL_MS = 10_000;
/** Time after a restart in which viewers that are not heard yet are no news, in ms. */
const UNHEARD_MS = 40_000;
/** Groups times cells whose common cells are looked up; a pass over the sessions is not dearer. */
const MAX_SUMMED = 20_000;
/** Groups above which a cell that overlaps with some does not learn from the rest of it. */
const MAX_LEARNED = 8;
/** A title with this part of its viewers in one region is named with the region. */
const ONE_REGION_PART = 0.9;
/** A slice with this part of its parent's viewers is the parent. */
const WHOLE_PART = 0.98;
const REGION_KIND = KINDS.indexOf("region");
const TITLE_KIND = KINDS.indexOf("title");
const TITLE_REGION_KIND = KINDS.indexOf("title_region");

/** What happened to an incident in this second. */
export interface Change {
  readonly change: "open" | "update" | "resolve" | "close";
  readonly incident: OpenIncident;
  readonly why?: FindingReason;
  /** Relatives that joined it. */
  readonly joined: readonly number[];
}

/** A cell over its bound that no incident explains. */
interface Unexplained {
  readonly cell: number;
  readonly channel: number;
  readonly isWeak: boolean;
  expected: number;
  /** Its sessions that no group explains, if some are in a group; default: all. */
  readonly counts: OutsideCounts | undefined;
}

/** When an incident recovered, and how long it had to be healthy for that, in ms. */
interface Recovered {
  readonly atMs: number;
  readonly recoverMs: number;
}

/** The open incidents of one signal. */
export class SignalWatch {
  readonly incidents: OpenIncident[] = [];
  /** Incidents that recovered in the last {@link FLAP_MS}, by cell, those first that did first. */
  readonly #recovered = new Map<number, Recovered>();
  /** Incidents not opened because there were too many. */
  refused = 0;
  /** Share that the group on each cell explains of its sessions, 0 for none. */
  readonly explains: Float32Array;
  readonly #groups: Groups;
  /** The cells in which {@link explains} is set, some twice. */
  readonly #explaining: number[] = [];
  /** What {@link unexplained} returns of most cells: asked of 100,000 a second while it learns. */
  readonly #whole: OutsideCounts = { of: 0, impaired: 0 };
  readonly #cells: CellTable;

  constructor(
    readonly rule: SignalRule,
    readonly tests: Candidates,
    readonly passes: Passes,
    readonly measure: (cell: number, rule: SignalRule, channel?: number) => Measurement,
    /** Cells all of which incidents of other signals explain. */
    readonly explainedElsewhere: () => readonly number[] = () => [],
  ) {
    this.#cells = tests.cells;
    this.explains = new Float32Array(this.#cells.limits.cells);
    this.#groups = new Groups(this.#cells);
  }

  /** Incidents that have not ended. */
  get open(): OpenIncident[] {
    return this.incidents.filter(({ endedMs }) => endedMs === undefined);
  }

  /** The open incident on `cell`. */
  incidentOn(cell: number): OpenIncident | undefined {
    return this.incidents.find((each) => each.endedMs === undefined && each.cell === cell);
  }

  /** The largest share that a group explains of a cell inside it; 0 for none. */
  readonly explainedBy = (cell: number): number => {
    const region = this.#cells.regionParent[cell] ?? -1;
    const other = this.#cells.otherParent[cell] ?? -1;
    return Math.max(
      this.explains[0] ?? 0,
      this.explains[cell] ?? 0,
      region < 0 ? 0 : this.explains[region] ?? 0,
      other < 0 ? 0 : this.explains[other] ?? 0,
    );
  };

  /**
   * The sessions of a cell that no incident explains, for a baseline that learns: undefined if that
   * is none or cannot be told cheaply. The result holds until the next call.
   */
  unexplained(cell: number, channel: number): OutsideCounts | undefined {
    if (this.#groups.kinds === 0 || !this.#groups.arePartly(cell)) {
      if (this.#groups.kinds !== 0 && this.explainedBy(cell) > 0) return undefined;
      this.#whole.of = this.tests.of(cell, channel);
      this.#whole.impaired = this.tests.impaired(cell, channel);
      return this.#whole;
    }
    if (this.explainedBy(cell) > 0 || this.#groups.cells.length > MAX_LEARNED) return undefined;
    const { of, impaired } = channelOf(channel);
    return this.#groups.outsideOf(cell, of, impaired);
  }

  /** Decides about the second that ends at `nowMs`. */
  step(candidates: CandidateList, nowMs: number): Change[] {
    const changes = this.#advanceIncidents(nowMs);
    this.#promoteOutgrown(changes, nowMs);
    this.#foldExplained(changes, nowMs);
    this.#refreshGroups(nowMs);
    let rest = this.#left(candidates);
    for (let round = 0; round < MAX_ROUNDS && rest.length > 0; round++) {
      const strongest = this.#strongest(rest);
      if (strongest === undefined) break;
      const cause = this.#mostSpecific(strongest);
      const group = this.#accept(cause, changes, nowMs);
      this.#refreshGroups(nowMs);
      rest = this.#without(rest, cause, group);
    }
    return changes;
  }

  /** Adds an incident that an earlier process opened, at `nowMs`; its viewers are yet to be heard. */
  restore(incident: OpenIncident, nowMs: number): void {
    incident.reportedMs = nowMs + UNHEARD_MS - UPDATE_INTERVAL_MS;
    this.#cells.hold(incident.cell);
    this.incidents.push(incident);
    this.#refreshGroups(nowMs);
  }

  /**
   * Leaves of the open incidents those alone on the cells of `told`, by which impaired were told: the
   * others have never been told to anybody. Ended ones go on explaining what they left.
   */
  keep(told: ReadonlyMap<number, number>, nowMs: number): void {
    for (let i = this.incidents.length - 1; i >= 0; i--) {
      const incident = this.incidents[i];
      if (incident === undefined || incident.endedMs !== undefined) continue;
      const impaired = told.get(incident.cell);
      if (impaired !== undefined) {
        // What it has changed by since then is news.
        incident.reportedImpaired = impaired;
        incident.reportedMs = nowMs - UPDATE_INTERVAL_MS;
        continue;
      }
      this.incidents.splice(i, 1);
      for (const { cell } of incident.members) this.#cells.unhold(cell);
    }
    this.#refreshGroups(nowMs);
  }

  #advanceIncidents(nowMs: number): Change[] {
    const changes: Change[] = [];
    for (const incident of this.incidents) {
      const why = incident.advance(this.tests, nowMs);
      if (incident.endedMs !== undefined) continue;
      const now = this.measure(incident.cell, this.rule);
      if (isWorse(now, incident.peak)) incident.peak = now;
      if (why !== undefined) {
        incident.end(nowMs, why);
        if (why === "recovered") this.#noteRecovered(incident, nowMs);
        changes.push({
          change: why === "recovered" ? "resolve" : "close",
          incident,
          why,
          joined: [],
        });
        continue;
      }
      const swing = this.#swing(incident, now, nowMs);
      if (swing) changes.push({ change: "update", incident, why: swing, joined: [] });
    }
    this.#dropEnded(nowMs);
    return changes;
  }

  #swing(incident: OpenIncident, now: Measurement, nowMs: number): FindingReason | undefined {
    if (nowMs - incident.reportedMs < UPDATE_INTERVAL_MS) return undefined;
    const isDoubled = now.impaired >= Math.max(now.bound, 2 * incident.reportedImpaired);
    const isHalved = now.impaired * 2 <= incident.reportedImpaired && incident.reportedImpaired > 0;
    if (!isDoubled && !isHalved) return undefined;
    incident.reportedImpaired = now.impaired;
    incident.reportedMs = nowMs;
    return isDoubled ? "doubled" : "halved";
  }

  #noteRecovered({ cell, recoverMs }: OpenIncident, nowMs: number): void {
    this.#forgetRecovered(cell);
    const [first] = this.#recovered.keys();
    if (first !== undefined && this.#recovered.size >= MAX_INCIDENTS) this.#forgetRecovered(first);
    // Held, so that its number is not given to another cell.
    this.#cells.hold(cell);
    this.#recovered.set(cell, { atMs: nowMs, recoverMs });
  }

  #forgetRecovered(cell: number): void {
    if (this.#recovered.delete(cell)) this.#cells.unhold(cell);
  }

  #dropEnded(nowMs: number): void {
    for (const [cell, { atMs }] of this.#recovered) {
      if (nowMs - atMs < FLAP_MS) break;
      this.#forgetRecovered(cell);
    }
    for (let i = this.incidents.length - 1; i >= 0; i--) {
      const incident = this.incidents[i];
      const isTooMany = incident?.endedMs !== undefined && i < this.incidents.length - MAX_KEPT;
      if (incident === undefined || (!isTooMany && !incident.isOver(this.tests, nowMs))) continue;
      this.incidents.splice(i, 1);
      for (const { cell } of incident.members) this.#cells.unhold(cell);
    }
  }

  #refreshGroups(nowMs: number): void {
    for (const cell of this.#explaining) this.explains[cell] = 0;
    this.#explaining.length = 0;
    this.#groups.clear();
    // Where many have vanished, the others are on their way: sessions are missed one by one.
    const isWhole = this.rule.signal === "silent";
    for (const incident of this.incidents) {
      const isGroup = incident.isGroup(nowMs);
      for (const member of incident.members) {
        if (isGroup) this.#groups.add(member.cell);
        const share = incident.endedMs === nowMs ? member.explainsLeaving() : member.explains();
        this.#explain(member.cell, isWhole && isGroup ? 1 : share);
      }
    }
    for (const cell of this.explainedElsewhere()) {
      this.#groups.add(cell);
      this.#explain(cell, 1);
    }
  }

  #explain(cell: number, share: number): void {
    this.#explaining.push(cell);
    this.explains[cell] = Math.max(this.explains[cell] ?? 0, share);
  }

  // The candidates that no incident explains.
  #left(candidates: CandidateList): Unexplained[] {
    const rest: Unexplained[] = [];
    for (let i = 0; i < candidates.size; i++) {
      const cell = candidates.cells[i] ?? 0;
      const channel = candidates.channels[i] ?? 0;
      if (this.#groups.is[cell] === 1) continue;
      const p = this.tests.baseline(cell, channel);
      const expected = Math.max(p, this.explainedBy(cell));
      if (expected > p && !this.tests.exceeds(cell, channel, expected)) continue;
      const isWeak = candidates.weak[i] === 1;
      rest.push({ cell, channel, isWeak, expected, counts: undefined });
    }
    return this.#withPartialGroups(rest);
  }

  // Cells that a group overlaps with in part are judged by their sessions outside all groups.
  #withPartialGroups(rest: readonly Unexplained[]): Unexplained[] {
    if (this.#groups.kinds === 0) return [...rest];
    const partial = rest.filter(({ cell }) => this.#groups.arePartly(cell));
    if (partial.length === 0) return [...rest];
    const outside = this.#outside(partial);
    return rest.flatMap((each) => {
      const counts = outside.get(each);
      if (counts === undefined) return [each];
      return this.tests.isExcess(each.cell, each.channel, counts, each.expected)
        ? [{ ...each, counts }]
        : [];
    });
  }

  // The sessions of each that are in no group: from the counts of cells if they tell.
  #outside(partial: readonly Unexplained[]): Map<Unexplained, OutsideCounts> {
    const outside = new Map<Unexplained, OutsideCounts>();
    const uncounted: Unexplained[] = [];
    const isCheap = partial.length * this.#groups.cells.length <= MAX_SUMMED;
    for (const each of partial) {
      const { of, impaired } = channelOf(each.channel);
      const counts = isCheap ? this.#groups.outsideOf(each.cell, of, impaired) : undefined;
      if (counts === undefined) uncounted.push(each);
      else outside.set(each, counts);
    }
    if (uncounted.length === 0) return outside;
    const asked = uncounted.map(({ cell, channel }) => {
      const { of, impaired } = channelOf(channel);
      return { cell, ofFlag: 1 << of, impairedFlag: 1 << impaired };
    });
    const counted = this.passes.outside(asked, this.#groups, (place, impaired) => {
      const each = uncounted[place];
      return each !== undefined && this.#mayBeExcess(each, impaired);
    });
    for (const [i, each] of uncounted.entries()) {
      outside.set(each, counted[i] ?? { of: 0, impaired: 0 });
    }
    return outside;
  }

  // Whether `impaired` sessions outside all groups may be an excess: the fewer sessions there are
  // outside, the likelier, so those that are at least there tell.
  #mayBeExcess({ cell, channel, expected }: Unexplained, impaired: number): boolean {
    const least = this.#groups.outsideAtLeast(cell, channelOf(channel).of);
    const of = Math.max(this.rule.minWatching, impaired, least);
    return this.tests.isExcess(cell, channel, { of, impaired }, expected);
  }

  // The strongest that may open, or a parent of it that is about as strong.
  #strongest(rest: readonly Unexplained[]): Unexplained | undefined {
    const scores = new Float64Array(rest.length);
    let best = -1;
    for (let i = 0; i < rest.length; i++) {
      const each = rest[i];
      if (each === undefined) continue;
      scores[i] = this.#score(each);
      if (!each.isWeak && (scores[i] ?? 0) > (scores[best] ?? -1)) best = i;
    }
    const cause = rest[best];
    if (cause === undefined) return undefined;
    let top = best;
    let topScore = -Infinity;
    for (const [i, score] of scores.entries()) {
      const other = rest[i];
      if (other === undefined || i === best) continue;
      const least = (scores[best] ?? 0) - (other.isWeak ? 0 : PARENT_MARGIN_NATS);
      if (score <= Math.max(least, topScore)) continue;
      if (!this.#cells.contains(other.cell, cause.cell)) continue;
      top = i;
      topScore = score;
    }
    return rest[top];
  }

  // The part of `cause` with the largest statistic, or itself. Parts that overlap with a group are
  // left to their own evidence.
  #mostSpecific(cause: Unexplained): Unexplained {
    const { channel } = cause;
    const kind = this.#cells.kinds[cause.cell] ?? 0;
    if (kind >= TITLE_REGION_KIND) return cause;
    const groups = this.#groups.cells;
    const { many, manyEnd } = this.tests;
    let best = cause;
    let bestScore = this.#score(cause) + PARENT_MARGIN_NATS;
    for (let i = 0; i < manyEnd; i++) {
      const cell = many[i] ?? ALL;
      if (!this.#cells.contains(cause.cell, cell) || !this.#mayOpen(cell, channel)) continue;
      const expected = Math.max(cause.expected, this.tests.baseline(cell, channel));
      const part: Unexplained = { cell, channel, isWeak: false, expected, counts: undefined };
      const score = this.tests.share(cell, channel) > expected ? this.#score(part) : 0;
      if (score <= bestScore) continue;
      if (groups.some((group) => overlap(this.#cells, group, cell) !== "apart")) continue;
      best = part;
      bestScore = score;
    }
    return best;
  }

  #mayOpen(cell: number, channel: number): boolean {
    const { minImpaired, minWatching, minShare } = this.rule;
    return this.tests.impaired(cell, channel) >= minImpaired && this.#cells.has(cell) &&
      this.tests.of(cell, channel) >= minWatching &&
      this.tests.share(cell, channel) >= (minShare[this.#cells.kinds[cell] ?? 0] ?? 1);
  }

  // n · KL(x/n ‖ expected), in nats.
  #score({ cell, channel, expected, counts }: Unexplained): number {
    const of = counts?.of ?? this.tests.of(cell, channel);
    const q = counts === undefined
      ? this.tests.share(cell, channel)
      : Math.min(1, counts.impaired / Math.max(1, of));
    const divergence = (q > 0 ? q * Math.log(q / expected) : 0) +
      (q < 1 ? (1 - q) * Math.log((1 - q) / (1 - expected)) : 0);
    return of * divergence;
  }

  // Opens an incident or joins one; the cell that it is known by.
  #accept(cause: Unexplained, changes: Change[], nowMs: number): number {
    const related = this.incidents.find((incident) => this.#takes(incident, cause, nowMs));
    if (related) {
      if (related.members.length >= MAX_MEMBERS) related.members.pop();
      this.#join(related, cause, nowMs);
      addJoined(changes, related, cause.cell);
      return cause.cell;
    }
    if (this.open.length >= MAX_INCIDENTS) {
      this.refused += 1;
      return cause.cell;
    }
    const cell = this.#bestNamed(cause.cell);
    this.#open(cell, changes, nowMs, cause.channel);
    return cell;
  }

  #open(cell: number, changes: Change[], nowMs: number, channel?: number): void {
    const measured = this.measure(cell, this.rule, channel);
    const incident = new OpenIncident(this.rule, cell, nowMs, measured, nowMs);
    const recovered = this.#recovered.get(cell);
    if (recovered !== undefined) incident.flapsAfter(recovered.recoverMs);
    incident.members[0]?.note(sharesOf(this.tests, this.rule, cell), nowMs);
    this.#cells.hold(cell);
    this.incidents.push(incident);
    changes.push({ change: "open", incident, joined: [] });
  }

  // A title that is watched in one region alone is a title in that region; a slice that is all of
  // its parent, as the only CDN of a region, is the parent.
  #bestNamed(cell: number): number {
    const kind = this.#cells.kinds[cell] ?? 0;
    if (kind === TITLE_KIND) {
      const largest = largestPart(this.#cells, cell, TITLE_REGION_KIND);
      return largest.part >= ONE_REGION_PART ? largest.cell : cell;
    }
    if (kind === REGION_KIND || kind === TITLE_REGION_KIND) return cell;
    const region = this.#cells.regionParent[cell] ?? -1;
    const parent = region < 0 ? ALL : region;
    const part = this.#cells.watching(cell) / Math.max(1, this.#cells.watching(parent));
    return part >= WHOLE_PART ? parent : cell;
  }

  // Whether `cause` is part of `incident`. What has outgrown it is not: whoever was paged about a
  // title does not know that everything fails.
  #takes(incident: OpenIncident, cause: Unexplained, nowMs: number): boolean {
    const ageMs = nowMs - incident.openedMs;
    if (incident.endedMs !== undefined || ageMs > RELATIVE_MS) return false;
    if (ageMs > GROWING_MS && this.#excess(cause) >= this.#outgrownAt(incident)) return false;
    const withSlices = ageMs <= SLICE_RELATIVE_MS;
    return incident.members.some(({ cell }) =>
      isRelative(this.#cells, cause.cell, cell, withSlices)
    );
  }

  #excess({ cell, channel, counts }: Unexplained): number {
    return excessOf({
      watching: counts?.of ?? this.tests.of(cell, channel),
      impaired: counts?.impaired ?? this.tests.impaired(cell, channel),
      baseline: this.tests.baseline(cell, channel),
    });
  }

  // Excess viewers from which a relative is more than the incident.
  #outgrownAt({ cell }: OpenIncident): number {
    const known = excessOf(this.measure(cell, this.rule));
    return OUTGROWN_FACTOR * Math.max(known, this.rule.minImpaired);
  }

  // A wider member that has outgrown its incident becomes an incident of its own, with a page.
  #promoteOutgrown(changes: Change[], nowMs: number): void {
    for (const incident of this.open) {
      if (nowMs - incident.openedMs <= GROWING_MS || this.open.length >= MAX_INCIDENTS) continue;
      const at = incident.members.findIndex(({ cell }, i) =>
        i > 0 && this.#cells.contains(cell, incident.cell) && this.incidentOn(cell) === undefined &&
        excessOf(this.measure(cell, this.rule)) >= this.#outgrownAt(incident)
      );
      const [member] = at < 0 ? [] : incident.members.splice(at, 1);
      if (member === undefined) continue;
      this.#cells.unhold(member.cell);
      this.#open(member.cell, changes, nowMs);
    }
  }

  #join(incident: OpenIncident, { cell, channel }: Unexplained, nowMs: number): void {
    const member = new Member(cell, this.tests.of(cell, channel), nowMs, this.rule.count);
    member.note(sharesOf(this.tests, this.rule, cell), nowMs);
    this.#cells.hold(cell);
    incident.members.push(member);
  }

  // Ends incidents inside a cell that another one has grown to, if its share explains them. That
  // one has to see their cells recover too.
  #foldExplained(changes: Change[], nowMs: number): void {
    const { open } = this;
    const grown = new Map(
      open.flatMap((outer) => outer.members.map((wide) => [wide.cell, { outer, wide }] as const)),
    );
    if (grown.size === 0) return;
    for (const inner of open) {
      const region = this.#cells.regionParent[inner.cell] ?? -1;
      const other = this.#cells.otherParent[inner.cell] ?? -1;
      for (const parent of [ALL, region, other]) {
        const found = grown.get(parent);
        if (found === undefined || found.outer === inner) continue;
        // What a younger incident grew to be, or what it opened on, is the news.
        const isOwn = found.wide.cell === found.outer.cell;
        if (isOwn && found.outer.openedMs < inner.openedMs) continue;
        if (found.outer.endedMs !== undefined || !this.#isPartOf(inner, found.wide)) continue;
        this.#fold(inner, found.outer, changes, nowMs);
        break;
      }
    }
  }

  #isPartOf({ cell, openedMs }: OpenIncident, wide: Member): boolean {
    if (Math.abs(wide.joinedMs - openedMs) > RELATIVE_MS || cell === wide.cell) return false;
    const { first, count } = this.rule;
    for (let channel = first; channel < first + count; channel++) {
      if (this.tests.exceeds(cell, channel, wide.explains())) return false;
    }
    return true;
  }

  #fold(inner: OpenIncident, outer: OpenIncident, changes: Change[], nowMs: number): void {
    for (const member of inner.members) {
      if (outer.members.length >= MAX_MEMBERS) break;
      this.#cells.hold(member.cell);
      outer.members.push(member.copy());
    }
    inner.end(nowMs, "folded");
    const at = changes.findIndex(({ incident }) => incident === inner);
    if (at >= 0) changes.splice(at, 1);
    changes.push({ change: "close", incident: inner, why: "folded", joined: [] });
  }

  #without(rest: readonly Unexplained[], cause: Unexplained, group: number): Unexplained[] {
    return rest.filter((each) => {
      if (each === cause) return false;
      const lies = overlap(this.#cells, group, each.cell);
      if (lies === "partly") return false;
      if (lies === "apart") return true;
      each.expected = Math.max(each.expected, this.explains[group] ?? 0);
      return this.tests.exceeds(each.cell, each.channel, each.expected);
    });
  }
}

function addJoined(changes: Change[], incident: OpenIncident, cell: number): void {
  const at = changes.findIndex((each) => each.incident === incident && each.change === "update");
  const joined = [...(changes[at]?.joined ?? []), cell];
  const change: Change = { change: "update", incident, why: "dimension", joined };
  const isNew = changes.some((each) => each.incident === incident && each.change === "open");
  if (isNew) return;
  if (at < 0) changes.push(change);
  else changes[at] = change;
}
