/**
 * The clocks that the books depend on: of this process, of Postgres, and of the streams, whose
 * servers stamp the receipts.
 *
 * @module
 */
import type { Sql } from "postgres";
import type { NatsConnection } from "nats";
import { jetstreamManager } from "nats/jetstream";
import { ComparedClocks, readClock, streamClock } from "../../shared/process/clock/clocks.ts";
import { agreedMs, agreementOf, type ClockReading } from "../../shared/process/clock/agreement.ts";
import { databaseTimeMs } from "../../shared/process/postgres/database_time.ts";

const POSTGRES = "Postgres";

/** The clocks of Postgres and of `streams` beside `nowMs`, the own one, ms since the epoch. */
export async function booksClocks(
  sql: Sql,
  nc: NatsConnection,
  streams: readonly string[],
  nowMs: () => number,
): Promise<ComparedClocks> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  return new ComparedClocks(nowMs, {
    [POSTGRES]: () => databaseTimeMs(sql),
    ...Object.fromEntries(streams.map((stream) => [stream, streamClock(jsm, stream)])),
  });
}

/** Reads the clocks of `streams`. Rejects with `RetryAfter` when one cannot be read. */
export async function readStreamClocks(
  nc: NatsConnection,
  streams: readonly string[],
  nowMs: () => number,
): Promise<ClockReading[]> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  return await Promise.all(
    streams.map((stream) => readClock(stream, streamClock(jsm, stream), nowMs)),
  );
}

/**
 * The earliest time of this process, Postgres and `streams`, as far as they were read. Rejects with
 * `Refused` when they differ.
 */
export async function agreedWithPostgresMs(
  sql: Sql,
  streams: readonly ClockReading[],
  nowMs: () => number,
): Promise<number> {
  const database = await readClock(POSTGRES, () => databaseTimeMs(sql), nowMs);
  return agreedMs(agreementOf([database, ...streams], nowMs()));
}
