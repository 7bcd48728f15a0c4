/**
 * Traces a line of a statement to the heartbeats that it is the sum of.
 *
 * The key of every counted id has the fingerprint of the counted content. It classifies each raw
 * heartbeat of the title: the one that was counted, its duplicates, and conflicts. When copies of one
 * id are on two streams, the one on the stream read first is reported as counted.
 *
 * Pure.
 *
 * @module
 */
import { judge } from "../../shared/contract/event.ts";
import type { Claim } from "../posting/accrue.ts";
import { lineKey } from "../statement/day_line.ts";
import type { StatementLine } from "../statement/statement_csv.ts";

/** Selects lines of a recognised day. Undefined selects every territory or event day. */
export interface LineFilter {
  readonly day: string;
  readonly titleId: string;
  readonly territory: string | undefined;
  readonly eventDay: string | undefined;
}

/** The outcome of a usable heartbeat. */
export type TraceOutcome =
  /** It is in the line. */
  | "counted"
  /** The same content was counted before under its id. */
  | "duplicate"
  /** Other content was counted under its id. */
  | "conflict"
  /** It is in the statement of an earlier day. */
  | "earlier"
  /** Its id has no key: the books lack it. */
  | "missing";

/** A heartbeat of the traced lines. */
export interface TracedEvent {
  readonly eventId: string;
  readonly stream: string;
  readonly sequence: number;
  /** Its place in the message, from 0. */
  readonly index: number;
  /** Ms since the epoch. */
  readonly ts: number;
  readonly playedMs: number;
  readonly territory: string;
  readonly eventDay: string;
  readonly outcome: TraceOutcome;
}

/** A line in the books, and the sum of the heartbeats found for it. */
export interface TracedLine {
  readonly booked: StatementLine;
  readonly events: bigint;
  readonly msWatched: bigint;
}

/** The sum of the heartbeats found for a line. */
interface Sum {
  events: bigint;
  msWatched: bigint;
}

/** The `lines` that `filter` selects. */
export function matchingLines(
  lines: readonly StatementLine[],
  filter: LineFilter,
): StatementLine[] {
  return lines.filter((line) => matches(line, filter));
}

function matches(
  line: { readonly titleId: string; readonly territory: string; readonly eventDay: string },
  { titleId, territory, eventDay }: LineFilter,
): boolean {
  return line.titleId === titleId && line.territory === (territory ?? line.territory) &&
    line.eventDay === (eventDay ?? line.eventDay);
}

/** Classifies raw heartbeats, each stream in the order of its sequences. */
export class Trace {
  /** The first `limit` heartbeats. */
  readonly events: TracedEvent[] = [];
  /** Number of all heartbeats, by outcome. */
  readonly outcomes: Record<TraceOutcome, number> = {
    counted: 0,
    duplicate: 0,
    conflict: 0,
    earlier: 0,
    missing: 0,
  };
  // Ids whose counted copy was found.
  readonly #found = new Set<string>();
  readonly #sums = new Map<string, Sum>();

  constructor(readonly filter: LineFilter, readonly limit: number) {}

  /** Number of ids held in memory. */
  get ids(): number {
    return this.#found.size;
  }

  /** The `claims` that may be in the lines. */
  select(claims: readonly Claim[]): Claim[] {
    const { day } = this.filter;
    return claims.filter((claim) =>
      claim.eventDay <= day && matches({ ...claim, territory: claim.region }, this.filter)
    );
  }

  /**
   * Adds a selected heartbeat of `stream`.
   *
   * @param counted fingerprint in the key of its id; undefined when it has no key
   * @param closedThrough last sequence posted before the seal of the day before
   */
  add(
    stream: string,
    claim: Claim,
    counted: number | undefined,
    closedThrough: number | undefined,
  ): void {
    const outcome = this.#outcomeOf(claim, counted, closedThrough);
    this.outcomes[outcome] += 1;
    if (outcome === "counted") this.#addToSum(claim);
    if (this.events.length < this.limit) this.events.push(tracedEvent(stream, claim, outcome));
  }

  /** Each of the `booked` lines with the sum of its heartbeats. */
  against(booked: readonly StatementLine[]): TracedLine[] {
    return booked.map((line) => ({
      booked: line,
      ...(this.#sums.get(lineKey(line)) ?? { events: 0n, msWatched: 0n }),
    }));
  }

  #outcomeOf(
    claim: Claim,
    counted: number | undefined,
    closedThrough: number | undefined,
  ): TraceOutcome {
    if (counted === undefined) return "missing";
    if (counted !== claim.fingerprint) return "conflict";
    if (this.#found.has(claim.eventId)) return "duplicate";
    this.#found.add(claim.eventId);
    const isRecognisedHere = claim.eventDay === this.filter.day ||
      (closedThrough !== undefined && claim.delivery.sequence > closedThrough);
    return isRecognisedHere ? "counted" : "earlier";
  }

  #addToSum({ eventDay, region, titleId, playedMs }: Claim): void {
    const key = lineKey({ eventDay, territory: region, titleId });
    const sum = this.#sums.get(key) ?? { events: 0n, msWatched: 0n };
    sum.events += 1n;
    sum.msWatched += BigInt(playedMs);
    this.#sums.set(key, sum);
  }
}

function tracedEvent(stream: string, claim: Claim, outcome: TraceOutcome): TracedEvent {
  const judgement = judge(claim.delivery.bytes);
  return {
    eventId: claim.eventId,
    stream,
    sequence: claim.delivery.sequence,
    index: claim.delivery.index,
    ts: judgement.ok ? judgement.heartbeat.ts : NaN,
    playedMs: claim.playedMs,
    territory: claim.region,
    eventDay: claim.eventDay,
    outcome,
  };
}

/** Whether every line is the sum of its heartbeats, and no heartbeat is missing in the books. */
export function addsUp(trace: Trace, lines: readonly TracedLine[]): boolean {
  return trace.outcomes.missing === 0 && lines.every(lineAddsUp);
}

/** Whether a line is the sum of its heartbeats. */
export function lineAddsUp({ booked, events, msWatched }: TracedLine): boolean {
  return events === booked.events && msWatched === booked.msWatched;
}
