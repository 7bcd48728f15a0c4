/**
 * Reads seals: as of when a day was sealed, and which sequences of each stream it covers.
 *
 * @module
 */
import type { Queryable } from "../../shared/process/postgres/pool.ts";
import type { StreamRange } from "../statement/manifest.ts";

interface SealRow {
  readonly as_of: Date;
  readonly sealed_at: Date;
}

/** When a day took its last credit, ms since the epoch. */
export interface Seal {
  /** The instant as of which it was sealed, which a person may have stated. */
  readonly asOfMs: number;
  /** When that was, by the clock of Postgres. */
  readonly sealedAtMs: number;
}

/** The seal of `day`; undefined when it is not sealed. */
export async function readSeal(sql: Queryable, day: string): Promise<Seal | undefined> {
  const [seal] = await sql<SealRow[]>`
    select as_of, sealed_at from royalty.seal where recognised_day = ${day}::text::date`;
  return seal && { asOfMs: seal.as_of.getTime(), sealedAtMs: seal.sealed_at.getTime() };
}

interface StreamRangeRow {
  readonly stream: string;
  readonly first_seq: string;
  readonly last_seq: string;
  readonly events: string;
  readonly counted: string;
  readonly duplicates: string;
  readonly quarantined: string;
  readonly canaries: string;
  readonly gaps: string;
}

/**
 * The sequences of each stream that `day` covers: from the seal before it to its own seal, or to the
 * current position while it is not sealed.
 */
export async function readRanges(sql: Queryable, day: string): Promise<StreamRange[]> {
  const rows = await sql<StreamRangeRow[]>`
    with ends as (
      select stream, last_seq, events, counted, duplicates, quarantined, canaries, gaps
      from royalty.seal_position
      where recognised_day = ${day}::text::date
      union all
      select stream, last_seq, events, counted, duplicates, quarantined, canaries, gaps
      from royalty.stream_position
      where not exists (select from royalty.seal where recognised_day = ${day}::text::date)
    ), begins as (
      select stream, last_seq, events, counted, duplicates, quarantined, canaries, gaps
      from royalty.seal_position
      where recognised_day = (
        select max(recognised_day) from royalty.seal where recognised_day < ${day}::text::date)
    )
    select e.stream, coalesce(b.last_seq, 0) + 1 as first_seq, e.last_seq,
      e.events - coalesce(b.events, 0) as events,
      e.counted - coalesce(b.counted, 0) as counted,
      e.duplicates - coalesce(b.duplicates, 0) as duplicates,
      e.quarantined - coalesce(b.quarantined, 0) as quarantined,
      e.canaries - coalesce(b.canaries, 0) as canaries,
      e.gaps - coalesce(b.gaps, 0) as gaps
    from ends e left join begins b using (stream) order by e.stream collate "C"`;
  return rows.map((row) => ({
    stream: row.stream,
    first_seq: Number(row.first_seq),
    last_seq: Number(row.last_seq),
    ...eventsOfRange(row),
    counted: Number(row.counted),
    duplicates: Number(row.duplicates),
    quarantined: Number(row.quarantined),
    gaps: Number(row.gaps),
    ...(Number(row.canaries) > 0 ? { canaries: Number(row.canaries) } : {}),
  }));
}

// Left out when each message is one event, as in manifests from before there were others.
function eventsOfRange(row: StreamRangeRow): { readonly events?: number } {
  const events = Number(row.events);
  const messages = Number(row.last_seq) - Number(row.first_seq) + 1 - Number(row.gaps);
  return events === messages ? {} : { events };
}
