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
 * What has ended goes on explaining for {@link AFTERMATH_MS}.
 *
 * @module
 */
import { ALL, type CellTable, KINDS } from "../watch/cells.ts";
import type { CandidateList, Candidates } from "./candidates.ts";
import { channelOf } from "./baseline.ts";
import type { SignalRule } from "./channels.ts";
import { Member, OpenIncident, sharesOf } from "./open_incident.ts";
import { largestPart, type OutsideCounts, type Passes } from "./passes.ts";
import { isRelative, overlap } from "./relation.ts";
import { Groups } from "./groups.ts";
import { type FindingReason, isWorse, type Measurement } from "./finding.ts";

const MAX_ROUNDS = 6;
/** A device that reports once a minute tells of a stall a minute late, and it counts for another. */
const AFTERMATH_MS = 90_000;
/** Age until which a relative is part of an incident and not one of its own. */
const RELATIVE_MS = 900_000;
/** Most cells of an incident; further relatives are still explained by their own. */
const MAX_MEMBERS = 32;
/** Most open incidents of a signal. */
const MAX_INCIDENTS = 1_000;
/** Least time between two updates that say that viewers doubled or halved. */
const UPDATE_INTERVAL_MS = 10_000;
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
  readonly counts?: OutsideCounts;
}

/** The open incidents of one signal. */
export class SignalWatch {
  readonly incidents: OpenIncident[] = [];
  /** Incidents not opened because there were too many. */
  refused = 0;
  /** Share that the group on each cell explains of its sessions, 0 for none. */
  readonly explains: Float32Array;
  readonly #groups: Groups;
  readonly #cells: CellTable;

  constructor(
    readonly rule: SignalRule,
    readonly tests: Candidates,
    readonly passes: Passes,
    readonly measure: (cell: number, rule: SignalRule, channel?: number) => Measurement,
    /** Whether incidents of other signals explain what this one sees of a cell. */
    readonly isExplainedElsewhere: (cell: number) => boolean = () => false,
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

  /** Decides about the second that ends at `nowMs`. */
  step(candidates: CandidateList, nowMs: number): Change[] {
    const changes = this.#advanceIncidents(nowMs);
    this.#foldExplained(changes, nowMs);
    this.#refreshGroups();
    let rest = this.#unexplained(candidates);
    for (let round = 0; round < MAX_ROUNDS && rest.length > 0; round++) {
      const strongest = this.#strongest(rest);
      if (strongest === undefined) break;
      const cause = this.#mostSpecific(strongest);
      const group = this.#accept(cause, changes, nowMs);
      this.#refreshGroups();
      rest = this.#without(rest, cause, group);
    }
    return changes;
  }

  /** Adds an incident that an earlier process opened. */
  restore(incident: OpenIncident): void {
    this.#cells.hold(incident.cell);
    this.incidents.push(incident);
    this.#refreshGroups();
  }

  #advanceIncidents(nowMs: number): Change[] {
    const changes: Change[] = [];
    for (const incident of this.incidents) {
      const why = incident.advance(this.tests, nowMs);
      if (incident.endedMs !== undefined) continue;
      const now = this.measure(incident.cell, this.rule);
      if (isWorse(now, incident.peak)) incident.peak = now;
      if (why !== undefined) {
        incident.end(nowMs);
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

  #dropEnded(nowMs: number): void {
    for (let i = this.incidents.length - 1; i >= 0; i--) {
      const incident = this.incidents[i];
      if (incident?.endedMs === undefined || nowMs - incident.endedMs < AFTERMATH_MS) continue;
      this.incidents.splice(i, 1);
      for (const { cell } of incident.members) this.#cells.unhold(cell);
    }
  }

  #refreshGroups(): void {
    for (const cell of this.#groups.cells) this.explains[cell] = 0;
    this.#groups.clear();
    // Where many have vanished, the others are on their way: sessions are missed one by one.
    const isWhole = this.rule.signal === "silent";
    for (const { members } of this.incidents) {
      for (const member of members) {
        const { cell } = member;
        this.#groups.add(cell);
        const share = isWhole ? 1 : member.explains();
        this.explains[cell] = Math.max(this.explains[cell] ?? 0, share);
      }
    }
  }

  #unexplained(candidates: CandidateList): Unexplained[] {
    const rest: Unexplained[] = [];
    for (let i = 0; i < candidates.size; i++) {
      const cell = candidates.cells[i] ?? 0;
      const channel = candidates.channels[i] ?? 0;
      if ((this.explains[cell] ?? 0) > 0 || this.isExplainedElsewhere(cell)) continue;
      const p = this.tests.baseline(cell, channel);
      const expected = Math.max(p, this.explainedBy(cell));
      if (expected > p && !this.tests.exceeds(cell, channel, expected)) continue;
      rest.push({ cell, channel, isWeak: candidates.weak[i] === 1, expected });
    }
    return this.#withPartialGroups(rest);
  }

  // Cells that a group overlaps with in part are judged by their sessions outside all groups.
  #withPartialGroups(rest: readonly Unexplained[]): Unexplained[] {
    if (this.#groups.kinds === 0) return [...rest];
    const partial = rest.filter(({ cell }) => this.#groups.arePartly(cell));
    if (partial.length === 0) return [...rest];
    const asked = partial.map(({ cell, channel }) => {
      const { of, impaired } = channelOf(channel);
      return { cell, ofFlag: 1 << of, impairedFlag: 1 << impaired };
    });
    const counted = this.passes.outside(asked, this.#groups, (place, impaired) => {
      const each = partial[place];
      return each !== undefined && this.#mayBeExcess(each, impaired);
    });
    const outside = new Map(counted.map((counts, i) => [partial[i], counts]));
    return rest.flatMap((each) => {
      const counts = outside.get(each);
      if (counts === undefined) return [each];
      return this.tests.isExcess(each.cell, each.channel, counts, each.expected)
        ? [{ ...each, counts }]
        : [];
    });
  }

  // Whether `impaired` sessions outside all groups may be an excess: the fewer sessions there are
  // outside, the likelier, so those that are at least there tell.
  #mayBeExcess({ cell, channel, expected }: Unexplained, impaired: number): boolean {
    const least = this.#groups.outsideAtLeast(cell, channelOf(channel).of);
    const of = Math.max(this.rule.minWatching, impaired, least);
    return this.tests.isExcess(cell, channel, { of, impaired }, expected);
  }

  // The strongest that may open, or a parent of it that is stronger still.
  #strongest(rest: readonly Unexplained[]): Unexplained | undefined {
    const scores = rest.map((each) => this.#score(each));
    let best = -1;
    for (const [i, score] of scores.entries()) {
      if (!rest[i]?.isWeak && score > (scores[best] ?? -1)) best = i;
    }
    const cause = rest[best];
    if (cause === undefined) return undefined;
    let top = best;
    for (const [i, score] of scores.entries()) {
      const other = rest[i];
      if (!other?.isWeak || score <= (scores[top] ?? 0)) continue;
      if (this.#cells.contains(other.cell, cause.cell)) top = i;
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
    let best = cause;
    let bestScore = this.#score(cause);
    for (let cell = 0; cell < this.#cells.end; cell++) {
      if (!this.#cells.contains(cause.cell, cell) || !this.#mayOpen(cell, channel)) continue;
      const expected = Math.max(cause.expected, this.tests.baseline(cell, channel));
      const part: Unexplained = { cell, channel, isWeak: false, expected };
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
    const related = this.incidents.find((incident) => this.#takes(incident, cause.cell, nowMs));
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
    const measured = this.measure(cell, this.rule, cause.channel);
    const incident = new OpenIncident(this.rule, cell, nowMs, measured, nowMs);
    incident.members[0]?.note(sharesOf(this.tests, this.rule, cell), nowMs);
    this.#cells.hold(cell);
    this.incidents.push(incident);
    changes.push({ change: "open", incident, joined: [] });
    return cell;
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

  #takes(incident: OpenIncident, cell: number, nowMs: number): boolean {
    if (incident.endedMs !== undefined || nowMs - incident.openedMs > RELATIVE_MS) return false;
    return incident.members.some((member) => isRelative(this.#cells, cell, member.cell));
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
      open.flatMap((outer) =>
        outer.members.slice(1).map((wide) => [wide.cell, { outer, wide }] as const)
      ),
    );
    if (grown.size === 0) return;
    for (const inner of open) {
      const region = this.#cells.regionParent[inner.cell] ?? -1;
      const other = this.#cells.otherParent[inner.cell] ?? -1;
      for (const parent of [ALL, region, other]) {
        const found = grown.get(parent);
        if (found === undefined || found.outer === inner) continue;
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
    inner.end(nowMs);
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
