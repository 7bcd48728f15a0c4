/**
 * From raw deliveries to credits, in two pure steps around the look-up of known ids: {@link accrue}
 * judges each delivery alone, {@link settle} decides which claims are new.
 *
 * The credit of an event is its own `played_ms`, so order, repetition and batching cannot change the
 * credit of another event.
 *
 * @module
 */
import { isCanary } from "../../shared/contract/canary/canary.ts";
import type { Delivery } from "../../shared/contract/delivery/delivery.ts";
import { type Heartbeat, judge, type Rejection } from "../../shared/contract/event.ts";
import { fnv1aText } from "../../shared/contract/hash.ts";
import { parseJson } from "../../shared/contract/json.ts";
import { droppableAgeMs } from "./event_key.ts";

const decoder = new TextDecoder();
/** Maximum `played_ms` of a valid heartbeat. */
const MAX_PLAYED_MS = 600_000;

/** The rules by which one event is judged. */
export interface AccrualRules {
  /** The business day of an instant (ms since the epoch), `YYYY-MM-DD`. */
  readonly dayOf: (instant: number) => string;
  /** Maximum age at receipt, ms. */
  readonly latenessHorizonMs: number;
  /** Maximum time ahead of receipt, ms. */
  readonly futureToleranceMs: number;
}

/** A usable event, which counts unless its id is known. */
export interface Claim {
  /** In lower case, because RFC 9562 compares ids without case. */
  readonly eventId: string;
  /** Hash of the credited content, a signed 32-bit integer. */
  readonly fingerprint: number;
  /** Ms since the epoch. */
  readonly ts: number;
  /** The business day of `ts`, `YYYY-MM-DD`. */
  readonly eventDay: string;
  readonly titleId: string;
  readonly region: string;
  readonly playedMs: number;
  readonly build: string;
  readonly delivery: Delivery;
}

/** A delivery that goes to quarantine. */
export interface Refusal {
  readonly delivery: Delivery;
  readonly rejection: Rejection;
  /** Its `played_ms`, if that can be read: ms at risk, never credited. */
  readonly msAtRisk: number | undefined;
}

/** A canary, which is accounted for and never credited, whatever is in it. */
export interface SeenCanary {
  readonly eventId: string;
  readonly delivery: Delivery;
}

/** A judged batch: claims, refusals and canaries, each in the order of the deliveries. */
export interface Accrual {
  readonly claims: readonly Claim[];
  readonly refusals: readonly Refusal[];
  readonly canaries: readonly SeenCanary[];
}

/**
 * Judges deliveries: malformed, implausible, late and future ones are refused, canaries are set
 * aside, the rest claim.
 */
export function accrue(deliveries: readonly Delivery[], rules: AccrualRules): Accrual {
  const claims: Claim[] = [];
  const refusals: Refusal[] = [];
  const canaries: SeenCanary[] = [];
  for (const delivery of deliveries) {
    const judgement = judge(delivery.bytes);
    // Before its times and its id are looked at: a canary depends on no clock and takes no key.
    if (judgement.ok && isCanary(judgement.heartbeat)) {
      canaries.push({ eventId: judgement.heartbeat.event_id, delivery });
      continue;
    }
    const rejection = judgement.ok
      ? timelinessRejection(judgement.heartbeat, delivery.receivedAtMs, rules)
      : judgement.rejection;
    if (rejection) {
      const msAtRisk = judgement.ok
        ? judgement.heartbeat.played_ms
        : readablePlayedMs(delivery.bytes);
      refusals.push({ delivery, rejection, msAtRisk });
    } else if (judgement.ok) claims.push(claimOf(judgement.heartbeat, delivery, rules));
  }
  return { claims, refusals, canaries };
}

/** The `played_ms` of a malformed event, if it has one that is valid; otherwise undefined. */
export function readablePlayedMs(bytes: Uint8Array): number | undefined {
  try {
    const { played_ms } = parseJson(decoder.decode(bytes)) as { played_ms?: unknown };
    if (typeof played_ms !== "number" || !Number.isInteger(played_ms)) return undefined;
    return played_ms >= 0 && played_ms <= MAX_PLAYED_MS ? played_ms : undefined;
  } catch {
    return undefined;
  }
}

function timelinessRejection(
  { event_id, ts, device }: Heartbeat,
  receivedAtMs: number,
  { latenessHorizonMs, futureToleranceMs }: AccrualRules,
): Rejection | undefined {
  const lateMs = receivedAtMs - ts;
  if (lateMs > latenessHorizonMs) {
    const detail = `ts is ${lateMs} ms before receipt, more than ${latenessHorizonMs}`;
    return { reason: "too_late", path: "$.ts", detail, build: device.build };
  }
  if (-lateMs > futureToleranceMs) {
    const detail = `ts is ${-lateMs} ms ahead of receipt, more than ${futureToleranceMs}`;
    return { reason: "from_the_future", path: "$.ts", detail, build: device.build };
  }
  const idAgeMs = droppableAgeMs(event_id.toLowerCase(), receivedAtMs, latenessHorizonMs);
  if (idAgeMs !== undefined) {
    const detail = `the id was made ${idAgeMs} ms before receipt: its key may have been dropped, ` +
      "so it is unknown whether the event was counted before";
    return { reason: "too_late", path: "$.event_id", detail, build: device.build };
  }
}

function claimOf(heartbeat: Heartbeat, delivery: Delivery, rules: AccrualRules): Claim {
  const { event_id, ts, title_id, region, played_ms, device } = heartbeat;
  return {
    eventId: event_id.toLowerCase(),
    fingerprint: fingerprintOf(heartbeat),
    ts,
    eventDay: rules.dayOf(ts),
    titleId: title_id,
    region,
    playedMs: played_ms,
    build: device.build,
    delivery,
  };
}

/**
 * FNV-1a hash of what is credited and of who watched it, as a signed 32-bit integer. Session and `seq`
 * are in it so that two viewers who share an id are seen.
 */
export function fingerprintOf(
  { ts, played_ms, title_id, region, session_id, seq }: Pick<
    Heartbeat,
    "ts" | "played_ms" | "title_id" | "region" | "session_id" | "seq"
  >,
): number {
  // Neither a region nor a control character is in the texts, so different contents give different ones.
  return fnv1aText(`${ts} ${played_ms} ${region} ${seq} ${title_id}\0${session_id}`) | 0;
}

/** What {@link fingerprintOf} was before session and `seq` were in it: older keys have it. */
function earlierFingerprintOf({ ts, playedMs, region, titleId }: Claim): number {
  return fnv1aText(`${ts} ${playedMs} ${region} ${titleId}`) | 0;
}

/** An addition to one accrual. */
export interface Credit {
  readonly recognisedDay: string;
  readonly eventDay: string;
  readonly titleId: string;
  readonly region: string;
  readonly events: number;
  readonly playedMs: number;
}

/** Which claims of a batch count, and what they add to the books. */
export interface Settlement {
  /** Claims whose id is new. */
  readonly counted: readonly Claim[];
  readonly credits: readonly Credit[];
  /** Sum over `counted`. */
  readonly creditedMs: number;
  readonly duplicates: number;
  /**
   * Claims whose id is known with other credited content, where the first content stands; and those
   * whose id is forgotten, of which nobody knows whether they were counted before.
   */
  readonly refused: readonly Refusal[];
}

/**
 * Decides each claim in order; the result does not depend on how claims are split into batches.
 *
 * @param known fingerprints of those ids among the claims that were counted before
 * @param oldestOpenDay recognised day of what was watched on an earlier day; undefined before the
 *   first close
 * @param isForgotten whether the key of an id that is not known may have been dropped
 */
export function settle(
  claims: readonly Claim[],
  known: ReadonlyMap<string, number>,
  oldestOpenDay: string | undefined,
  isForgotten: (eventId: string, ts: number) => boolean = () => false,
): Settlement {
  const counted: Claim[] = [];
  const refused: Refusal[] = [];
  const first = new Map(known);
  let duplicates = 0;
  for (const claim of claims) {
    const fingerprint = first.get(claim.eventId);
    if (fingerprint === undefined && isForgotten(claim.eventId, claim.ts)) {
      refused.push(tooLate(claim));
    } else if (fingerprint === undefined) {
      first.set(claim.eventId, claim.fingerprint);
      counted.push(claim);
    } else if (fingerprint === claim.fingerprint || fingerprint === earlierFingerprintOf(claim)) {
      duplicates += 1;
    } else refused.push(conflictOf(claim));
  }
  const credits = creditsOf(counted, oldestOpenDay);
  const creditedMs = counted.reduce((sum, { playedMs }) => sum + playedMs, 0);
  return { counted, credits, creditedMs, duplicates, refused };
}

function conflictOf({ delivery, eventId, build, playedMs }: Claim): Refusal {
  const detail = `event ${eventId} was counted with another ts, played_ms, title_id, region, ` +
    "session_id or seq";
  const rejection = { reason: "conflict", path: "$.event_id", detail, build } as const;
  return { delivery, rejection, msAtRisk: playedMs };
}

function tooLate({ delivery, build, playedMs }: Claim): Refusal {
  const detail =
    "the keys of its day are dropped, so it is unknown whether the event was counted " +
    "before";
  const rejection = { reason: "too_late", path: "$.event_id", detail, build } as const;
  return { delivery, rejection, msAtRisk: playedMs };
}

/** Sums over the refusals of one reason. */
export interface AtRisk {
  readonly reason: string;
  readonly entries: number;
  /** Entries with a readable `played_ms`. */
  readonly readable: number;
  /** Sum of `played_ms` over the readable ones. */
  readonly ms: number;
}

/** Sums `refusals` by reason, in the order in which the reasons first occur. */
export function atRisk(refusals: readonly Refusal[]): AtRisk[] {
  const sums = new Map<string, AtRisk>();
  for (const { rejection: { reason }, msAtRisk } of refusals) {
    const sum = sums.get(reason) ?? { reason, entries: 0, readable: 0, ms: 0 };
    sums.set(reason, {
      reason,
      entries: sum.entries + 1,
      readable: sum.readable + (msAtRisk === undefined ? 0 : 1),
      ms: sum.ms + (msAtRisk ?? 0),
    });
  }
  return [...sums.values()];
}

function creditsOf(claims: readonly Claim[], oldestOpenDay = ""): Credit[] {
  const lines = new Map<string, Credit & { events: number; playedMs: number }>();
  for (const { eventDay, titleId, region, playedMs } of claims) {
    const key = `${eventDay} ${region} ${titleId}`;
    const line = lines.get(key);
    if (line) {
      line.events += 1;
      line.playedMs += playedMs;
    } else {
      // Days are ISO dates, so text order is calendar order.
      const recognisedDay = eventDay > oldestOpenDay ? eventDay : oldestOpenDay;
      lines.set(key, { recognisedDay, eventDay, titleId, region, events: 1, playedMs });
    }
  }
  return [...lines.values()];
}
