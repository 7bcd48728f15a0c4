/**
 * A closed day made again from raw heartbeats in an empty database, to the same bytes.
 *
 * Unlike the recount, which counts in another way to find mistakes, this is the service's own way:
 * the same judgement, the same postings, the days closed where they were closed. It shows that the
 * books can be had again from the streams alone.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import type { Sql } from "postgres";
import { messageOf, Refused, Stop } from "../../shared/process/errors.ts";
import { patiently } from "../../shared/process/postgres/pool.ts";
import type { OnProgress } from "../../shared/process/cli/progress.ts";
import { type AccrualRules, accrue } from "../posting/accrue.ts";
import { BusinessCalendar, nextDay } from "../statement/business_day.ts";
import { type Cursor, follow } from "../posting/continuity.ts";
import type { Position } from "../books/accounts.ts";
import { putCatalogue } from "../books/catalogue.ts";
import { connectBooks, openBooks, WHOLE_DAY_MS } from "../books/connection.ts";
import { readRecognisedLines } from "../books/lines.ts";
import { LedgerSession, type Posting } from "../posting/ledger.ts";
import { sha256 } from "../statement/manifest.ts";
import { readRaw } from "../raw/raw_stream.ts";
import type { RawMessage } from "../raw/stored_message.ts";
import { checkEmpty, openFrom, readRebuildBasis, type SealPoint } from "./rebuild_basis.ts";
import { readBooksOfDay } from "../recount/books_of_day.ts";
import type { RecountOptions } from "../recount/day.ts";
import { keptSources } from "../recount/sources.ts";
import { statementCsv } from "../statement/csv.ts";

/** What a rebuild works with. */
export interface RebuildOptions extends Omit<RecountOptions, "folder"> {
  /** Postgres URL of an empty database. */
  readonly into: string;
}

/** What was stored and what came of the raw heartbeats. */
export interface Rebuilt {
  readonly version: number;
  readonly stored: string;
  readonly rebuilt: string;
  readonly events: number;
  readonly seconds: number;
}

/**
 * Rebuilds `day` (`YYYY-MM-DD`) into the empty database `options.into`, and leaves it there to be
 * looked at. Rejects with {@link Refused} when the day has no statement, its raw heartbeats are not
 * kept any more, or the database is not empty.
 */
export async function rebuildDay(day: string, options: RebuildOptions): Promise<Rebuilt> {
  const { sql, nc, rules, into, now, onProgress } = options;
  const begun = now();
  const { zone, version, sha256: stored, catalogue, seals } = await readRebuildBasis(sql, day);
  // Refuses what is not kept any more before anything is written.
  await keptSources(nc, await readBooksOfDay(sql, day), rules, begun);
  await using scratch = await Scratch.open(into, zone);
  const calendar = new BusinessCalendar(zone);
  const total = sequencesOf(seals.at(-1));
  const replay = new Replay(
    nc,
    into,
    { ...rules, dayOf: (instant) => calendar.dayOf(instant) },
    (sequences) => onProgress?.(sequences, total),
  );
  for (const seal of seals) {
    await replay.through(seal);
    await openFrom(scratch.sql, nextDay(seal.day));
  }
  await putCatalogue(scratch.sql, catalogue);
  const lines = await patiently(
    scratch.sql,
    WHOLE_DAY_MS,
    () => readRecognisedLines(scratch.sql, day),
  );
  const csv = statementCsv(lines);
  return {
    version,
    stored,
    rebuilt: sha256(csv),
    events: replay.events,
    seconds: (now() - begun) / 1000,
  };
}

/** How many sequences the streams had in all when a day was closed. */
function sequencesOf(seal: SealPoint | undefined): number {
  return [...seal?.positions.values() ?? []].reduce((sum, last) => sum + last, 0);
}

/** The database that is rebuilt into. */
class Scratch implements AsyncDisposable {
  private constructor(readonly sql: Sql) {}

  static async open(url: string, zone: string): Promise<Scratch> {
    const sql = connectBooks(url);
    try {
      await checkEmpty(sql);
      await openBooks(url, zone);
      return new Scratch(sql);
    } catch (error) {
      await sql.end({ timeout: 2 });
      if (error instanceof Refused) throw error;
      throw new Stop(`the database to rebuild into: ${messageOf(error)}`, { cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sql.end({ timeout: 2 });
  }
}

/** Posts raw heartbeats as the service did. */
class Replay {
  events = 0;
  #sequences = 0;

  constructor(
    readonly nc: NatsConnection,
    readonly databaseUrl: string,
    readonly rules: AccrualRules,
    readonly onProgress: OnProgress,
  ) {}

  /** Posts every stream up to where it stood at `seal`. */
  async through({ positions }: SealPoint): Promise<void> {
    for (const [stream, last] of positions) {
      await using session = new LedgerSession(this.databaseUrl, stream);
      let position = await session.position();
      const range = { from: position.lastSeq + 1, through: last };
      for await (const batch of readRaw(this.nc, stream, range)) {
        const before = position.lastSeq;
        position = await this.#post(session, position, batch);
        this.#sequences += position.lastSeq - before;
        this.onProgress(this.#sequences);
      }
    }
  }

  async #post(
    session: LedgerSession,
    position: Position,
    batch: readonly RawMessage[],
  ): Promise<Position> {
    const cursor: Cursor = { ...position, deliveries: 0 };
    const deliveries = batch.map((message, i) => ({
      ...message,
      redelivered: false,
      deliverySequence: i + 1,
    }));
    const continuation = follow(cursor, deliveries);
    if (continuation.kind !== "continues") throw new Refused(continuation.reason);
    const { claims, refusals } = accrue(continuation.fresh, this.rules);
    const posting: Posting = {
      stream: session.stream,
      after: position.lastSeq,
      through: continuation.cursor,
      claims,
      refusals,
      gaps: continuation.gaps,
    };
    // Nothing is set aside: copies are in QUARANTINE since the events were first read.
    const outcome = await session.commit(posting, await session.plan(posting));
    if (outcome.kind === "outdated") {
      throw new Refused("somebody else closes days in the database to rebuild into");
    }
    this.events += batch.length;
    return outcome.position;
  }
}
