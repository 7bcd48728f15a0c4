/**
 * `deno task royalty reissue`.
 *
 * @module
 */
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../shared/process/cli/declaration.ts";
import { day, text } from "../../shared/process/cli/parsers.ts";
import { withCloser } from "./with_closer.ts";

export const reissueCommand = command({
  name: "reissue",
  summary: "issue a closed day's statement again with the present catalogue",
  details: "It is a new version; the versions before stay as they are.",
  options: {
    day: { type: "string", value: "YYYY-MM-DD", about: "the day", parser: day(), required: true },
    reason: {
      type: "string",
      value: "TEXT",
      about: "why, for the manifest",
      parser: text(200),
      required: true,
    },
    json: JSON_OPTION,
  },
  examples: [{ args: ["--day", "2026-11-22", "--reason", "studio of title-7 corrected"] }],
  async run({ day, reason, json }, io) {
    return await withCloser((closer) => closer.reissue(day, reason), { json, io });
  },
});
