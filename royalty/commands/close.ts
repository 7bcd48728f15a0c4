/**
 * `deno task royalty close`.
 *
 * @module
 */
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../shared/process/cli/declaration.ts";
import { day, instant, text } from "../../shared/process/cli/parsers.ts";
import { BY_OPTION, REASON_OPTION } from "./deed_options.ts";
import { withCloser } from "./with_closer.ts";

/** `deno task royalty close`: closes a day. */
export const closeCommand = command({
  name: "close",
  summary: "close a day and issue its statement",
  details: "A day that is closed already is not changed.\n\n" +
    "--as-of may be ahead of the clock, if you are sure that the day is over, and then needs " +
    "--reason; events that arrive later become adjustments of the next day. The manifest states " +
    "both times.\n\n" +
    "The recount needs NATS, as royalty or auditor. The manifest contains who closed the day, and " +
    "why it was not recounted.",
  options: {
    day: { type: "string", value: "YYYY-MM-DD", about: "the day", parser: day(), required: true },
    asOf: {
      type: "string",
      value: "INSTANT",
      about: "the instant as of which it closes, such as 2026-11-23T01:00:00Z",
      parser: instant(),
      absent: "now",
    },
    withoutRecount: {
      type: "string",
      value: "REASON",
      about: "why it is closed without a recount",
      parser: text(200),
      absent: "the raw heartbeats are recounted first",
    },
    by: BY_OPTION,
    reason: REASON_OPTION,
    json: JSON_OPTION,
  },
  examples: [
    { args: ["--day", "2026-11-22", "--by", "A. Person"] },
    {
      args: ["--day", "2026-11-22", "--by", "A. Person", "--without-recount", "stream restored"],
      about: "when the raw heartbeats are no longer kept",
    },
  ],
  async run({ day, asOf, withoutRecount, by, reason, json }, io) {
    const deed = { by, asOfMs: asOf, reason, withoutRecount };
    return await withCloser((closer) => closer.close(day, deed), { json, io });
  },
});
