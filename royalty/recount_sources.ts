/**
 * Whether the raw heartbeats of a day are all still there, and how to read them.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { Refused } from "../shared/errors.ts";
import { type RawExtent, rawExtent, readRaw } from "./raw_stream.ts";
import type { RawSource } from "./recount.ts";
import type { BooksOfDay, StreamSpan } from "./recount_books.ts";
import { DayStarts, type RecountRules } from "./recount_event.ts";

/** A stream that still has all that a day needs. */
export interface KeptSource extends RawSource {
  /** The oldest sequence kept. */
  readonly firstSeq: number;
  /** Messages read so far. */
  readonly messages: number;
}

/**
 * The streams of `books`. Rejects with {@link Refused} when raw heartbeats that the day needs are not
 * kept any more or are not those that were counted. `asked` is the present, ms since the epoch.
 */
export async function keptSources(
  nc: NatsConnection,
  { day, zone, spans }: BooksOfDay,
  { futureToleranceMs }: RecountRules,
  asked: number,
): Promise<KeptSource[]> {
  // The first heartbeats of a day may be received before it begins: their clock is ahead.
  const needed = new DayStarts(zone).startOf(day) - futureToleranceMs;
  return await Promise.all(
    spans.map(async (span) => sourceOf(nc, span, await rawExtent(nc, span.stream), needed, asked)),
  );
}

function sourceOf(
  nc: NatsConnection,
  { stream, through, closedThrough }: StreamSpan,
  extent: RawExtent,
  needed: number,
  asked: number,
): KeptSource {
  if (extent.lastSeq < through) {
    throw new Refused(
      `${stream} ends at ${extent.lastSeq}, but ${through} is accounted for: it was restored or ` +
        "made anew, and its sequences name other heartbeats than those counted",
    );
  }
  const completeSince = completeSinceOf(extent, asked);
  const isCut = closedThrough !== undefined && extent.firstSeq > closedThrough + 1;
  if (completeSince > needed || isCut) {
    throw new Refused(
      `${stream} keeps raw heartbeats since ${iso(completeSince)}, sequence ${extent.firstSeq}; ` +
        `this day needs all since ${iso(needed)}` +
        (closedThrough === undefined ? "" : `, sequence ${closedThrough + 1}`) +
        ". It cannot be recounted any more",
    );
  }
  const source = {
    ...{ stream, through, closedThrough, completeSince, messages: 0 },
    firstSeq: extent.firstSeq,
    read: async function* () {
      for await (const batch of readRaw(nc, stream, { from: extent.firstSeq, through })) {
        source.messages += batch.length;
        yield batch;
      }
    },
  };
  return source;
}

// What is gone was older than the stream's age; a heartbeat that is still there proves more.
function completeSinceOf({ firstSeq, firstReceivedAt, maxAgeMs }: RawExtent, asked: number) {
  if (firstSeq === 1) return -Infinity;
  return Math.min(firstReceivedAt ?? Infinity, asked - maxAgeMs);
}

function iso(instant: number): string {
  return Number.isFinite(instant) ? new Date(instant).toISOString() : "its beginning";
}
