/**
 * Whether the raw heartbeats of a day are all still there, and how to read them.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { Refused } from "../../shared/process/errors.ts";
import { firstSince, type RawExtent, rawExtent, readRaw } from "../raw/raw_stream.ts";
import type { RawSource } from "./recount.ts";
import type { BooksOfDay, StreamSpan } from "./books_of_day.ts";
import { DayStarts, type RecountRules } from "./appraise.ts";

/** A stream that still has all that a day needs. */
export interface KeptSource extends RawSource {
  /** The oldest sequence read. */
  readonly from: number;
  /** Messages read so far. */
  readonly messages: number;
}

/**
 * The streams of `books`. Rejects with {@link Refused} when raw heartbeats that the day needs are not
 * kept any more or are not those that were counted. `asked` is the present, ms since the epoch; what
 * was received more than `lookBackMs` before the day is left out.
 */
export async function keptSources(
  nc: NatsConnection,
  { day, zone, spans }: BooksOfDay,
  { futureToleranceMs }: RecountRules,
  asked: number,
  lookBackMs = Infinity,
): Promise<KeptSource[]> {
  // The first heartbeats of a day may be received before it begins: their clock is ahead.
  const needed = new DayStarts(zone).startOf(day) - futureToleranceMs;
  return await Promise.all(spans.map(async (span) => {
    const extent = await rawExtent(nc, span.stream);
    const kept = completeSince(span, extent, needed, asked);
    const since = needed - lookBackMs;
    const from = await firstRead(nc, span, extent, since);
    return sourceOf(nc, span, from, from > extent.firstSeq ? Math.max(kept, since) : kept);
  }));
}

// What was posted since the day before was closed is read in any case.
async function firstRead(
  nc: NatsConnection,
  { stream, closedThrough = Infinity }: StreamSpan,
  { firstSeq, lastSeq, firstReceivedAt = Infinity }: RawExtent,
  since: number,
): Promise<number> {
  if (firstReceivedAt >= since) return firstSeq;
  const first = await firstSince(nc, stream, since) ?? lastSeq + 1;
  return Math.max(firstSeq, Math.min(first, closedThrough + 1));
}

function sourceOf(
  nc: NatsConnection,
  span: StreamSpan,
  from: number,
  completeSince: number,
): KeptSource {
  const { stream, through } = span;
  const source = {
    ...span,
    completeSince,
    from,
    messages: 0,
    read: async function* () {
      for await (const batch of readRaw(nc, stream, { from, through })) {
        source.messages += batch.length;
        yield batch;
      }
    },
  };
  return source;
}

/**
 * Since when all that `stream` received is kept, ms since the epoch; -Infinity when all of it is.
 * Throws {@link Refused} when the day needs more: what was received since `needed`, and what was
 * posted since the close before.
 */
export function completeSince(
  { stream, through, closedThrough }: StreamSpan,
  { firstSeq, lastSeq, firstReceivedAt, maxAgeMs }: RawExtent,
  needed: number,
  asked: number,
): number {
  if (lastSeq < through) {
    throw new Refused(
      `${stream} ends at ${lastSeq}, but ${through} is accounted for: it was restored or made ` +
        "anew, and its sequences name other heartbeats than those counted",
    );
  }
  if (firstSeq === 1) return -Infinity;
  // What is gone was older than the stream's age; a heartbeat that is still there proves more.
  const since = Math.min(firstReceivedAt ?? Infinity, asked - maxAgeMs);
  const isCut = closedThrough !== undefined && firstSeq > closedThrough + 1;
  if (since <= needed && !isCut) return since;
  throw new Refused(
    `${stream} keeps raw heartbeats from sequence ${firstSeq} on, all since ${iso(since)}; this ` +
      `day needs all since ${iso(needed)}` +
      (isCut ? ` and from sequence ${closedThrough + 1} on` : "") +
      ". It cannot be recounted any more",
  );
}

function iso(instant: number): string {
  return Number.isFinite(instant) ? new Date(instant).toISOString() : "its beginning";
}
