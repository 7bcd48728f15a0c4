/**
 * The books and the raw streams for the commands that hold one against the other.
 *
 * @module
 */
import { localEnvironment, natsSettings, readSettings } from "../../shared/process/config.ts";
import { Log } from "../../shared/process/log.ts";
import { connectNats } from "../../shared/process/nats.ts";
import { withBooks } from "./command.ts";
import type { RecountOptions } from "../recount/day.ts";
import { royaltyCliSettings } from "../settings.ts";

/**
 * Does `work` with this process's settings, connected as royalty or auditor. A folder to sort in is
 * made for the time of `work` where none is set.
 */
export async function withRawStreams<T>(work: (options: RecountOptions) => Promise<T>): Promise<T> {
  const env = localEnvironment("royalty");
  const settings = readSettings({ ...royaltyCliSettings, ...natsSettings }, env);
  return await withBooks(async (sql) => {
    const nc = await connectNats(settings, new Log("royalty-cli", "error"));
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
