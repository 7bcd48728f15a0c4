/**
 * `deno task royalty reissue`.
 *
 * @module
 */
import { keptText, withCloser } from "./with_closer.ts";
import { type Command, readArguments, required, requiredDay } from "./command.ts";

export const reissueCommand: Command = {
  name: "reissue",
  usage: `reissue --day YYYY-MM-DD --reason TEXT
issue a new version of a closed day's statement with the present catalogue; the versions
before stay as they are`,
  async run(args) {
    const given = readArguments("reissue", args, { valued: ["--day", "--reason"] });
    const day = requiredDay(given);
    const reason = keptText("--reason", required(given, "--reason", "TEXT"));
    return await withCloser((closer) => closer.reissue(day, reason));
  },
};
