/**
 * Checks that the raw heartbeats of a day are still kept, and reads them.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { Refused } from "../../shared/process/errors.ts";
import {
  firstSequenceSince,
  type RawExtent,
  rawExtent,
  readRaw,
} from "../../shared/process/raw/raw_stream.ts";
import type { RawSource } from "./recount.ts";
import type { BooksOfDay, StreamSpan } from "./books_of_day.ts";
import { DayStarts, type RecountRules } from "./appraise.ts";

/** A stream that still has every heartbeat that a day needs. */
export interface KeptSource extends RawSource {
  /** The oldest sequence read. */
  readonly from: number;
  /** Messages read so far, and the heartbeats in them. */
  readonly messages: number;
  readonly heartbeats: number;
}

/**
 * The sources of a recount, one per stream of the books. Heartbeats received more than `lookBackMs`
 * before the day are left out. `nowMs` is ms since the epoch. Rejects with {@link Refused} when raw
 * heartbeats that the day needs are no longer kept or are not those that were counted, and with
 * `RetryAfter` while NATS does not answer.
 */
export async function keptSources(
  nc: NatsConnection,
  { day, zone, spans }: BooksOfDay,
  { futureToleranceMs }: RecountRules,
  nowMs: number,
  lookBackMs = Infinity,
): Promise<KeptSource[]> {
  // A device's clock may be ahead, so heartbeats of a day may be received before it begins.
  const neededSinceMs = new DayStarts(zone).startOf(day) - futureToleranceMs;
  return await Promise.all(spans.map(async (span) => {
    const extent = await rawExtent(nc, span.stream);
    const keptSinceMs = completeSince(span, extent, neededSinceMs, nowMs);
    const readSinceMs = neededSinceMs - lookBackMs;
    const from = await firstSequenceToRead(nc, span, extent, readSinceMs);
    const isCut = from > extent.firstSeq;
    return sourceOf(nc, span, from, isCut ? Math.max(keptSinceMs, readSinceMs) : keptSinceMs);
  }));
}

// Everything posted since the seal of the day before is always read.
async function firstSequenceToRead(
  nc: NatsConnection,
  { stream, closedThrough = Infinity }: StreamSpan,
  { firstSeq, lastSeq, firstReceivedAt = Infinity }: RawExtent,
  since: number,
): Promise<number> {
  if (firstReceivedAt >= since) return firstSeq;
  const first = await firstSequenceSince(nc, stream, since) ?? lastSeq + 1;
  return Math.max(firstSeq, Math.min(first, closedThrough + 1));
}

function sourceOf(
  nc: NatsConnection,
  span: StreamSpan,
  from: number,
  completeSinceMs: number,
): KeptSource {
  const { stream, through } = span;
  const source = {
    ...span,
    completeSinceMs,
    from,
    messages: 0,
    heartbeats: 0,
    read: async function* () {
      for await (const batch of readRaw(nc, stream, { from, through })) {
        source.messages += batch.filter(({ index }) => index === 0).length;
        source.heartbeats += batch.length;
        yield batch;
      }
    },
  };
  return source;
}

/**
 * The instant since which everything that the stream received is kept, ms since the epoch; -Infinity
 * when everything ever received is kept. Throws {@link Refused} when the day needs more: everything
 * received since `neededSinceMs`, and everything posted since the seal of the day before.
 */
export function completeSince(
  { stream, through, closedThrough }: StreamSpan,
  { firstSeq, lastSeq, firstReceivedAt, maxAgeMs }: RawExtent,
  neededSinceMs: number,
  nowMs: number,
): number {
  if (lastSeq < through) {
    throw new Refused(
      `${stream} ends at ${lastSeq}, but ${through} is accounted for: it was restored or ` +
        "recreated, and its sequences name other heartbeats than those counted",
    );
  }
  if (firstSeq === 1) return -Infinity;
  // Deleted messages were older than the maximum age, and older than the oldest message kept.
  const since = Math.min(firstReceivedAt ?? Infinity, nowMs - maxAgeMs);
  const isCut = closedThrough !== undefined && firstSeq > closedThrough + 1;
  if (since <= neededSinceMs && !isCut) return since;
  throw new Refused(
    `${stream} keeps raw heartbeats from sequence ${firstSeq} on, all since ${iso(since)}; this ` +
      `day needs all since ${iso(neededSinceMs)}` +
      (isCut ? ` and from sequence ${closedThrough + 1} on` : "") +
      ". It can no longer be recounted",
  );
}

function iso(instant: number): string {
  return Number.isFinite(instant) ? new Date(instant).toISOString() : "its beginning";
}
