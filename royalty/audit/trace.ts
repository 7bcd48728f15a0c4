/**
 * From a line of a statement down to the heartbeats that it is the sum of.
 *
 * The key of every counted id says which content was counted, so each raw heartbeat of the line's
 * title can be told apart: the one that was counted, its repetitions, and what came under the same
 * id with other content. Where copies of one id came on two streams, the stream read first is taken
 * to have been counted.
 *
 * Pure.
 *
 * @module
 */
import { judge } from "../../shared/contract/event.ts";
import type { Claim } from "../posting/accrue.ts";
import { lineKey } from "../statement/day_line.ts";
import type { StatementLine } from "../statement/csv.ts";

/** Which lines of a recognised day are traced. */
export interface Wanted {
  readonly day: string;
  readonly titleId: string;
  readonly territory: string | undefined;
  readonly eventDay: string | undefined;
}

/** What became of a heartbeat that can be used. */
export type Fate =
  /** It is in the line. */
  | "counted"
  /** The same content was counted before under its id. */
  | "duplicate"
  /** Other content was counted under its id. */
  | "conflict"
  /** It is in the statement of an earlier day. */
  | "earlier"
  /** Its id is not among those counted: the books lack it. */
  | "missing";

/** A heartbeat of the traced lines. */
export interface TracedEvent {
  readonly eventId: string;
  readonly stream: string;
  readonly sequence: number;
  readonly ts: number;
  readonly playedMs: number;
  readonly territory: string;
  readonly eventDay: string;
  readonly fate: Fate;
}

/** A line as it is booked and as its heartbeats add up. */
export interface TracedLine {
  readonly booked: StatementLine;
  readonly events: bigint;
  readonly msWatched: bigint;
}

/** What the heartbeats of a line add up to. */
interface Sum {
  events: bigint;
  msWatched: bigint;
}

/** Lines that are wanted. */
export function linesOf(lines: readonly StatementLine[], wanted: Wanted): StatementLine[] {
  return lines.filter((line) => isWanted(line, wanted));
}

function isWanted(
  line: { readonly titleId: string; readonly territory: string; readonly eventDay: string },
  { titleId, territory, eventDay }: Wanted,
): boolean {
  return line.titleId === titleId && line.territory === (territory ?? line.territory) &&
    line.eventDay === (eventDay ?? line.eventDay);
}

/** Follows raw heartbeats in the order of each stream. */
export class Trace {
  /** The first heartbeats traced, as many as are to be shown. */
  readonly events: TracedEvent[] = [];
  /** How many there were in all. */
  readonly fates: Record<Fate, number> = {
    counted: 0,
    duplicate: 0,
    conflict: 0,
    earlier: 0,
    missing: 0,
  };
  // Ids whose counted copy has been met.
  readonly #met = new Set<string>();
  readonly #sums = new Map<string, Sum>();

  constructor(readonly wanted: Wanted, readonly limit: number) {}

  /** Ids met so far. */
  get ids(): number {
    return this.#met.size;
  }

  /** Those of `claims` that may be in the lines. */
  select(claims: readonly Claim[]): Claim[] {
    const { day } = this.wanted;
    return claims.filter((claim) =>
      claim.eventDay <= day && isWanted({ ...claim, territory: claim.region }, this.wanted)
    );
  }

  /**
   * Takes in a selected heartbeat of `stream`, in the order of its sequences.
   *
   * @param counted fingerprint of the content that was counted under its id
   * @param closedThrough last sequence entered before the day before was closed
   */
  add(
    stream: string,
    claim: Claim,
    counted: number | undefined,
    closedThrough: number | undefined,
  ): void {
    const fate = this.#fateOf(claim, counted, closedThrough);
    this.fates[fate] += 1;
    if (fate === "counted") this.#sum(claim);
    if (this.events.length < this.limit) this.events.push(tracedEvent(stream, claim, fate));
  }

  /** `booked` lines beside what was found of each. */
  against(booked: readonly StatementLine[]): TracedLine[] {
    return booked.map((line) => ({
      booked: line,
      ...(this.#sums.get(lineKey(line)) ?? { events: 0n, msWatched: 0n }),
    }));
  }

  #fateOf(claim: Claim, counted: number | undefined, closedThrough: number | undefined): Fate {
    if (counted === undefined) return "missing";
    if (counted !== claim.fingerprint) return "conflict";
    if (this.#met.has(claim.eventId)) return "duplicate";
    this.#met.add(claim.eventId);
    const isOwn = claim.eventDay === this.wanted.day ||
      (closedThrough !== undefined && claim.delivery.sequence > closedThrough);
    return isOwn ? "counted" : "earlier";
  }

  #sum({ eventDay, region, titleId, playedMs }: Claim): void {
    const key = lineKey({ eventDay, territory: region, titleId });
    const sum = this.#sums.get(key) ?? { events: 0n, msWatched: 0n };
    sum.events += 1n;
    sum.msWatched += BigInt(playedMs);
    this.#sums.set(key, sum);
  }
}

function tracedEvent(stream: string, claim: Claim, fate: Fate): TracedEvent {
  const judgement = judge(claim.delivery.bytes);
  return {
    eventId: claim.eventId,
    stream,
    sequence: claim.delivery.sequence,
    ts: judgement.ok ? judgement.heartbeat.ts : NaN,
    playedMs: claim.playedMs,
    territory: claim.region,
    eventDay: claim.eventDay,
    fate,
  };
}

/** Whether every line is the sum of its heartbeats, and none is missing in the books. */
export function addsUp(trace: Trace, lines: readonly TracedLine[]): boolean {
  return trace.fates.missing === 0 && lines.every(lineAddsUp);
}

/** Whether a line is the sum of its heartbeats. */
export function lineAddsUp({ booked, events, msWatched }: TracedLine): boolean {
  return events === booked.events && msWatched === booked.msWatched;
}
