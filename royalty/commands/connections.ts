/**
 * Connects commands to the books and to NATS, by the settings of this process.
 *
 * @module
 */
import type { NatsConnection } from "nats";
import { Misuse } from "../../shared/process/cli/misuse.ts";
import {
  localEnvironment,
  natsSettings,
  readSettings,
  type Settings,
} from "../../shared/process/config.ts";
import { isExpected, messageOf, Stop } from "../../shared/process/errors.ts";
import { Log } from "../../shared/process/log.ts";
import { connectWatched } from "../../shared/process/nats.ts";
import { isSchemaMissing } from "../../shared/process/postgres/transient.ts";
import { allowSilence } from "../../shared/process/postgres/pool.ts";
import { connectBooks, WHOLE_DAY_MS } from "../books/connection.ts";
import type { RecountOptions } from "../recount/day.ts";
import { countedRule, countedSettings, countedStreams, royaltyCliSettings } from "../settings.ts";

/** A connection to the books. */
export type Books = ReturnType<typeof connectBooks>;

/** Where a person's commands find the books: as the issuer, where there is one. */
export function booksUrlOf(
  { TWOFOLD_ISSUER_POSTGRES_URL: issuer, TWOFOLD_POSTGRES_URL: url }: Settings<
    typeof royaltyCliSettings
  >,
): string {
  return issuer ?? url;
}

/**
 * Runs `work` with a connection to the books. Expected errors of `work` ({@link isExpected}) and
 * {@link Misuse} pass unchanged; all others become {@link Stop}.
 */
export async function withBooks<T>(work: (sql: Books) => Promise<T>): Promise<T> {
  const settings = readSettings(royaltyCliSettings, localEnvironment("royalty"));
  const sql = connectBooks(booksUrlOf(settings));
  try {
    return await allowSilence(sql, WHOLE_DAY_MS, () => work(sql));
  } catch (error) {
    if (isExpected(error) || error instanceof Misuse) throw error;
    throw new Stop(
      isSchemaMissing(error)
        ? "the books are not made yet; run deno task provision"
        : `Postgres: ${messageOf(error)}`,
      { cause: error },
    );
  } finally {
    await sql.end({ timeout: 2 });
  }
}

/**
 * Runs `query` with a connection to NATS and the names of the streams that are counted in this
 * database. Returns its result, or the reason (a string) why NATS cannot be used. Never rejects.
 */
export async function queryNats<T>(
  query: (nc: NatsConnection, streams: readonly string[]) => Promise<T>,
): Promise<T | string> {
  const env = localEnvironment("royalty");
  if (!env.TWOFOLD_NATS_USER) return "TWOFOLD_NATS_USER is not set";
  try {
    const settings = readSettings({ ...natsSettings, ...countedSettings }, env, countedRule);
    const nc = await connectWatched(settings, new Log("royalty-cli", "error"));
    try {
      return await query(nc, countedStreams(settings));
    } finally {
      await nc.close();
    }
  } catch (error) {
    return messageOf(error);
  }
}

/**
 * Runs `work` with connections to the books and to the raw streams, as royalty or auditor. Without
 * `TWOFOLD_RECOUNT_DIR` it sorts in a temporary folder. Rejects as {@link withBooks} does.
 */
export async function withRawStreams<T>(work: (options: RecountOptions) => Promise<T>): Promise<T> {
  const env = localEnvironment("royalty");
  const settings = readSettings({ ...royaltyCliSettings, ...natsSettings }, env);
  return await withBooks(async (sql) => {
    const nc = await connectWatched(settings, new Log("royalty-cli", "error"));
    const given = settings.TWOFOLD_RECOUNT_DIR;
    const folder = given ?? await Deno.makeTempDir();
    try {
      const rules = {
        latenessHorizonMs: settings.TWOFOLD_LATENESS_HORIZON_MS,
        futureToleranceMs: settings.TWOFOLD_FUTURE_TOLERANCE_MS,
      };
      return await work({ sql, nc, rules, folder, now: Date.now });
    } finally {
      if (given === undefined) await Deno.remove(folder, { recursive: true });
      await nc.close();
    }
  });
}
