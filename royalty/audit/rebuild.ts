/**
 * Rebuilds a closed day from raw heartbeats in an empty database, to the same bytes.
 *
 * The recount uses another algorithm, to find mistakes. The rebuild uses the service's own: the same
 * judgement, the same postings, days sealed at the same sequences. It shows that the books can be
 * restored from the streams alone.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import type { Sql } from "postgres";
import { type DeliveredMessage, deliveriesIn } from "../../shared/contract/delivery/delivery.ts";
import { messageOf, Refused, Stop } from "../../shared/process/errors.ts";
import { allowSilence } from "../../shared/process/postgres/pool.ts";
import type { OnProgress } from "../../shared/process/cli/progress.ts";
import { type AccrualRules, accrue } from "../posting/accrue.ts";
import { BusinessCalendar, nextDay } from "../statement/business_day.ts";
import { type Cursor, follow } from "../posting/continuity.ts";
import type { Position } from "../books/accounts.ts";
import { putCatalogue } from "../books/stored_catalogue.ts";
import { connectBooks, openBooks, WHOLE_DAY_MS } from "../books/connection.ts";
import { readRecognisedLines } from "../books/lines.ts";
import { LedgerSession, type Posting } from "../posting/ledger.ts";
import { sha256 } from "../statement/manifest.ts";
import { readRawMessages } from "../../shared/process/raw/raw_stream.ts";
import { rawEventsIn, type RawMessage } from "../../shared/process/raw/stored_message.ts";
import { checkEmpty, openFrom, readRebuildBasis, type SealPoint } from "./rebuild_basis.ts";
import { readBooksOfDay } from "../recount/books_of_day.ts";
import type { RecountOptions } from "../recount/day.ts";
import { keptSources } from "../recount/sources.ts";
import { statementCsv } from "../statement/statement_csv.ts";

/** Options of {@link rebuildDay}. */
export interface RebuildOptions extends Omit<RecountOptions, "folder"> {
  /** Postgres URL of an empty database. */
  readonly into: string;
}

/** The result of a rebuild. */
export interface Rebuilt {
  /** The newest version of the statement. */
  readonly version: number;
  /** SHA-256 of the stored CSV. */
  readonly stored: string;
  /** SHA-256 of the rebuilt CSV. */
  readonly rebuilt: string;
  /** Raw heartbeats read. */
  readonly events: number;
  /** Duration. */
  readonly seconds: number;
}

/**
 * Rebuilds `day` (`YYYY-MM-DD`) in the empty database `options.into`, where the books stay. Rejects
 * with {@link Refused} when the day has no statement, its raw heartbeats are no longer kept, or the
 * database is not empty; with {@link Stop} when the database cannot be used.
 */
export async function rebuildDay(day: string, options: RebuildOptions): Promise<Rebuilt> {
  const { sql, nc, rules, into, now, onProgress } = options;
  const begun = now();
  const { zone, version, sha256: stored, rights, seals } = await readRebuildBasis(sql, day);
  // Throws Refused for heartbeats that are no longer kept, before anything is written.
  await keptSources(nc, await readBooksOfDay(sql, day), rules, begun);
  await using target = await TargetDatabase.open(into, zone);
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
    await openFrom(target.sql, nextDay(seal.day));
  }
  await putCatalogue(target.sql, rights, { by: "rebuild", file: `version ${version} of ${day}` });
  const lines = await allowSilence(
    target.sql,
    WHOLE_DAY_MS,
    () => readRecognisedLines(target.sql, day),
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

/** Total sequences of all streams at a seal. */
function sequencesOf(seal: SealPoint | undefined): number {
  return [...seal?.positions.values() ?? []].reduce((sum, last) => sum + last, 0);
}

/** The database in which the books are rebuilt. */
class TargetDatabase implements AsyncDisposable {
  private constructor(readonly sql: Sql) {}

  static async open(url: string, zone: string): Promise<TargetDatabase> {
    const sql = connectBooks(url);
    try {
      await checkEmpty(sql);
      await openBooks(url, zone);
      return new TargetDatabase(sql);
    } catch (error) {
      await sql.end({ timeout: 2 });
      if (error instanceof Refused) throw error;
      throw new Stop(`the database of --into cannot be used: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sql.end({ timeout: 2 });
  }
}

/** Posts raw heartbeats as the service does. */
class Replay {
  events = 0;
  #sequences = 0;

  constructor(
    readonly nc: NatsConnection,
    readonly databaseUrl: string,
    readonly rules: AccrualRules,
    readonly onProgress: OnProgress,
  ) {}

  /** Posts every stream up to its position at `seal`. */
  async through({ positions }: SealPoint): Promise<void> {
    for (const [stream, last] of positions) {
      await using session = new LedgerSession(this.databaseUrl, stream);
      let position = await session.position();
      const range = { from: position.lastSeq + 1, through: last };
      for await (const batch of readRawMessages(this.nc, stream, range)) {
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
    const messages = batch.map((message, i) => deliveredRaw(message, i + 1));
    const continuation = follow(cursor, messages);
    if (continuation.kind !== "continues") throw new Refused(continuation.reason);
    const events = continuation.fresh.flatMap(deliveriesIn);
    const { claims, refusals, canaries } = accrue(events, this.rules);
    const posting: Posting = {
      stream: session.stream,
      after: position.lastSeq,
      through: continuation.cursor,
      events: events.length,
      claims,
      refusals,
      canaries,
      gaps: continuation.gaps,
    };
    const outcome = await session.commit(posting, await session.plan(posting));
    if (outcome.kind === "outdated") {
      throw new Refused("another process changes the books in the database of --into");
    }
    this.events += events.length;
    return outcome.position;
  }
}

/** What the durable would deliver for `message`, as the delivery of this number. */
function deliveredRaw(message: RawMessage, deliverySequence: number): DeliveredMessage {
  const { sequence, receivedAtMs } = message;
  const events = rawEventsIn(message).map(({ bytes }) => bytes);
  return { events, sequence, receivedAtMs, redelivered: false, deliverySequence };
}
