/**
 * `deno task royalty status`.
 *
 * @module
 */
import { localEnvironment, natsSettings, readSettings } from "../shared/config.ts";
import { messageOf } from "../shared/errors.ts";
import { Log } from "../shared/log.ts";
import { connectNats } from "../shared/nats/connection.ts";
import { type Command, readArguments, withBooks } from "./command.ts";
import { readAccounts } from "./ledger.ts";
import { lagOf } from "./reader.ts";
import { statusJson, statusText } from "./status_report.ts";

export const statusCommand: Command = {
  name: "status",
  usage: `status [--json]
the account of each stream; exits 1 when the books do not balance`,
  async run(args) {
    const { flags } = readArguments("status", args, { switches: ["--json"] });
    const [accounts, lag] = await Promise.all([withBooks(readAccounts), readLag()]);
    console.log(flags.has("--json") ? statusJson(accounts, lag) : statusText(accounts, lag));
    return accounts.disagreements.length === 0 ? 0 : 1;
  },
};

/** Lag by stream, or why it cannot be told; the accounts do not depend on it. */
async function readLag(): Promise<ReadonlyMap<string, number> | string> {
  const env = localEnvironment("royalty");
  if (!env.TWOFOLD_NATS_USER) return "TWOFOLD_NATS_USER is not set";
  try {
    const settings = readSettings(natsSettings, env);
    const nc = await connectNats(settings, new Log("royalty-cli", "error"));
    try {
      return await lagOf(nc, settings.TWOFOLD_PARTITIONS);
    } finally {
      await nc.close();
    }
  } catch (error) {
    return messageOf(error);
  }
}
