/**
 * The incidents that have no page of their own, because more opened at once than may page. They are
 * one incident on `alerts.rebuffer._._`, which may be open for a reason of its own as well.
 *
 * Pure: the caller passes the time. Times are ms since the epoch.
 *
 * @module
 */
import type { AlertCell, IncidentAlert } from "../../shared/contract/alert.ts";
import { alertSubject } from "../../shared/contract/topology.ts";
import type { Measurement } from "../detect/finding.ts";
import type { Facts, LiveIncident } from "./incident.ts";

/** How long after a restart the withheld ones of the earlier process may be found again, in ms. */
const SETTLE_MS = 75_000;
const MAX_WORST = 10;

type Reported = NonNullable<IncidentAlert["withheld"]>;
type Outcome = NonNullable<IncidentAlert["outcome"]>;

interface Withheld {
  readonly cell: AlertCell;
  readonly onsetMs: number;
  readonly facts: Facts;
}

/** The withheld incidents and the incident that stands for them. */
export class ManyIncidents {
  /** Where they are published. */
  readonly subject = alertSubject.incident("rebuffer", { kind: "all" });
  readonly #members = new Map<string, Withheld>();
  #incident: LiveIncident | undefined;
  #isRecovered = false;
  #settledAtMs = 0;
  /** Members and impaired viewers in the newest message. */
  #published = { members: 0, impaired: 0 };
  /** Whether only withheld incidents keep the incident open. */
  alone = false;
  /** The outcome of the member that ended last. */
  lastOutcome: Outcome = "recovered";

  get size(): number {
    return this.#members.size;
  }

  /** The earliest onset. */
  get onsetMs(): number {
    let earliestMs = Infinity;
    for (const { onsetMs } of this.#members.values()) earliestMs = Math.min(earliestMs, onsetMs);
    return earliestMs;
  }

  /** Whether there are twice as many, or twice as many viewers, as the newest message says. */
  get hasDoubled(): boolean {
    const { members, impaired } = this.#published;
    if (this.size >= 2 * Math.max(1, members)) return true;
    let now = 0;
    for (const { facts } of this.#members.values()) now += facts.now.impaired;
    return now >= 2 * Math.max(1, impaired);
  }

  /** Takes the incident of an earlier process. */
  recover(incident: LiveIncident, { incidents, alone }: Reported): void {
    this.#incident = incident;
    this.alone = alone;
    this.#published = { members: incidents, impaired: incident.facts.now.impaired };
    this.#isRecovered = true;
    // If none of them is found again, nobody can say that they have recovered.
    this.lastOutcome = "gone";
  }

  /** Called before anything is decided. */
  begin(nowMs: number): void {
    if (this.#isRecovered && this.#settledAtMs === 0) this.#settledAtMs = nowMs + SETTLE_MS;
  }

  /** Whether withheld incidents of an earlier process may be found again. */
  isSettling(nowMs: number): boolean {
    return this.#incident !== undefined && nowMs < this.#settledAtMs;
  }

  has(subject: string): boolean {
    return this.#members.has(subject);
  }

  /** Whether `incident` stands for the withheld ones. */
  holds(incident: LiveIncident): boolean {
    return this.#incident === incident;
  }

  /** Whether only withheld ones keep `incident` open. */
  isAlone(incident: LiveIncident): boolean {
    return this.alone && this.holds(incident);
  }

  /** Withholds a new incident, or the page of one that has a subject. */
  add(subject: string, { cell, onsetMs, ...facts }: Facts & Pick<Withheld, "cell" | "onsetMs">) {
    this.#members.set(subject, { cell, onsetMs, facts });
  }

  update(subject: string, facts: Facts): void {
    const known = this.#members.get(subject);
    if (known) this.#members.set(subject, { ...known, facts });
  }

  /** A member has ended; or the incident itself has, if `subject` is its own. */
  remove(subject: string, outcome: Outcome): void {
    if (this.#members.delete(subject)) this.lastOutcome = outcome;
    if (subject !== this.subject) return;
    this.#incident = undefined;
    this.alone = false;
    this.#isRecovered = false;
    this.#settledAtMs = 0;
    this.#published = { members: 0, impaired: 0 };
    this.lastOutcome = "recovered";
  }

  /** `incident` stands for the withheld ones from now on. */
  join(incident: LiveIncident): void {
    this.#incident = incident;
    this.alone = false;
  }

  /** What a message of `incident` says about withheld ones. */
  report(incident: LiveIncident): IncidentAlert["withheld"] {
    if (!this.holds(incident)) return undefined;
    this.#published = { members: this.size, impaired: this.#sums().impaired };
    return { incidents: this.size, alone: this.alone };
  }

  /** What is known of all of them; viewers of overlapping cells count in each. */
  facts(peak?: Measurement): Facts {
    const now = this.#sums();
    const members = [...this.#members.values()];
    const worst = members.sort((a, b) => b.facts.now.impaired - a.facts.now.impaired)
      .slice(0, MAX_WORST).map(({ cell, facts }) => ({ cell, now: facts.now }));
    return {
      now,
      peak: peak !== undefined && peak.impaired > now.impaired ? peak : now,
      evidence: members.reduce((most, { facts }) => Math.max(most, facts.evidence), 0),
      worst,
      folded: members.length,
      receivedAtMs: members.reduce((newest, { facts }) => Math.max(newest, facts.receivedAtMs), 0),
    };
  }

  #sums(): Measurement {
    const sum = {
      watching: 0,
      impaired: 0,
      spanMs: 0,
      usual: 0,
      bound: 0,
      rebufferMs: 0,
      playedMs: 0,
    };
    for (const { facts: { now } } of this.#members.values()) {
      sum.watching += now.watching;
      sum.impaired += now.impaired;
      sum.usual += now.baseline * now.watching;
      sum.bound += now.bound;
      sum.rebufferMs += now.rebufferMs;
      sum.playedMs += now.playedMs;
      sum.spanMs = Math.max(sum.spanMs, now.spanMs);
    }
    const { usual, ...measured } = sum;
    const audience = Math.max(1, sum.watching);
    return { ...measured, share: sum.impaired / audience, baseline: usual / audience };
  }
}
