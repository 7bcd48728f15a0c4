/**
 * `deno task royalty status`.
 *
 * @module
 */
import { askNats, type Command, readArguments, withBooks } from "./command.ts";
import { readAccounts } from "../books/accounts.ts";
import { lagOf } from "../raw/stream_ends.ts";
import { statusJson, statusText } from "./status_report.ts";

export const statusCommand: Command = {
  name: "status",
  usage: `status [--json]
the account of each stream; exits 1 when the books do not balance`,
  async run(args) {
    const { flags } = readArguments("status", args, { switches: ["--json"] });
    // The accounts do not depend on the lag, so it may be unknown.
    const [accounts, lag] = await Promise.all([withBooks(readAccounts), askNats(lagOf)]);
    console.log(flags.has("--json") ? statusJson(accounts, lag) : statusText(accounts, lag));
    return accounts.disagreements.length === 0 ? 0 : 1;
  },
};
