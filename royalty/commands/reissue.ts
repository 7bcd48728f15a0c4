/**
 * `deno task royalty reissue`.
 *
 * @module
 */
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../shared/process/cli/declaration.ts";
import { day, text } from "../../shared/process/cli/parsers.ts";
import { withCloser } from "./with_closer.ts";

/** `deno task royalty reissue`: issues a new version of a statement. */
export const reissueCommand = command({
  name: "reissue",
  summary: "reissue the statement of a closed day with the current catalogue",
  details: "It becomes a new version; the earlier versions are not changed.",
  options: {
    day: { type: "string", value: "YYYY-MM-DD", about: "the day", parser: day(), required: true },
    reason: {
      type: "string",
      value: "TEXT",
      about: "why it is reissued, for the manifest",
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
