/**
 * Decides, for one signal, which incidents open, grow and end.
 *
 * Each second, of the cells over their bound:
 * 1. those that open incidents explain are left out: the share that is expected of a cell is the
 *    mean over its sessions of max(p, share of any open group that the session is in): for a cell
 *    inside a group the worst of the last minute, because parts lag, else the share of now;
 * 2. of the rest the one with the largest n · KL(x/n ‖ expected) is the cause: the likelihood ratio
 *    of Kulldorff's scan statistic (Commun. Stat. Theory Methods 26, 1997). Parents that are as
 *    improbable may be chosen although their share is small, so that a fault of a CDN is not
 *    called one of its first region;
 * 3. it becomes an incident, or part of a recent one that it is a relative of, and what it explains
 *    of the rest is left out; at most {@link MAX_ROUNDS} times a second. A cell that overlaps with
 *    it only partly waits a second, to be judged knowing it.
 * What has ended goes on explaining for {@link AFTERMATH_MS}.
 *
 * @module
 */
import { ALL, type CellTable, KINDS } from "../watch/cells.ts";
import type { CandidateList, Candidates } from "./candidates.ts";
import type { SignalRule } from "./channels.ts";
import { Member, OpenIncident, sharesOf } from "./open_incident.ts";
import { largestPart, type Passes } from "./passes.ts";
import { isRelative, overlap } from "./relation.ts";
import type { FindingReason, Measurement } from "./finding.ts";

const MAX_ROUNDS = 6;
const AFTERMATH_MS = 75_000;
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
}

/** The open incidents of one signal. */
export class SignalWatch {
  readonly incidents: OpenIncident[] = [];
  /** Incidents not opened because there were too many. */
  refused = 0;
  /** Share that the group on each cell explains of cells inside it, 0 for none. */
  readonly explains: Float32Array;
  /** Share that the group on each cell has now. */
  readonly #shares: Float32Array;
  /** Cells with such a group. */
  #groups: number[] = [];
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
    this.#shares = new Float32Array(this.#cells.limits.cells);
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
    this.#refreshGroups();
    let rest = this.#unexplained(candidates);
    for (let round = 0; round < MAX_ROUNDS && rest.length > 0; round++) {
      const cause = this.#strongest(rest);
      if (cause === undefined) break;
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
      if (now.share > incident.peak.share) incident.peak = now;
      if (why !== undefined) {
        incident.endedMs = nowMs;
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
    const isDoubled = now.impaired >= 2 * Math.max(1, incident.reportedImpaired);
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
    for (const cell of this.#groups) {
      this.explains[cell] = 0;
      this.#shares[cell] = 0;
    }
    this.#groups = [];
    // Where many have vanished, the others are on their way: sessions are missed one by one.
    const isWhole = this.rule.signal === "silent";
    for (const member of this.incidents.flatMap(({ members }) => members)) {
      const { cell } = member;
      this.#groups.push(cell);
      const share = isWhole ? 1 : member.explains();
      this.explains[cell] = Math.max(this.explains[cell] ?? 0, share);
      this.#shares[cell] = Math.max(this.#shares[cell] ?? 0, isWhole ? 1 : member.share);
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

  // Cells that a group overlaps with in part are tested against what it explains of them.
  #withPartialGroups(rest: readonly Unexplained[]): Unexplained[] {
    if (this.#groups.length === 0) return [...rest];
    const groups = [...new Set(this.#groups)];
    const isPartial = ({ cell }: Unexplained) =>
      groups.some((group) => overlap(this.#cells, group, cell) === "partly");
    const partial = rest.filter(isPartial);
    if (partial.length === 0) return [...rest];
    const expected = this.passes.expected(
      partial.map(({ cell }) => cell),
      this.#shares,
      (cell) => this.tests.baseline(cell, this.rule.first),
    );
    for (const [i, each] of partial.entries()) {
      each.expected = Math.max(each.expected, expected[i] ?? 0);
    }
    return rest.filter(({ cell, channel, expected }) =>
      this.tests.exceeds(cell, channel, expected)
    );
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

  // n · KL(x/n ‖ expected), in nats.
  #score({ cell, channel, expected }: Unexplained): number {
    const q = this.tests.share(cell, channel);
    const divergence = (q > 0 ? q * Math.log(q / expected) : 0) +
      (q < 1 ? (1 - q) * Math.log((1 - q) / (1 - expected)) : 0);
    return this.tests.of(cell, channel) * divergence;
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
