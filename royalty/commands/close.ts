/**
 * `deno task royalty close`.
 *
 * @module
 */
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../shared/process/cli/declaration.ts";
import { Misuse } from "../../shared/process/cli/misuse.ts";
import { day, instant, text } from "../../shared/process/cli/parsers.ts";
import type { Waiver } from "../closing/closer.ts";
import { withCloser } from "./with_closer.ts";

/** `deno task royalty close`: closes a day. */
export const closeCommand = command({
  name: "close",
  summary: "close a day and issue its statement",
  details: "A day that is closed already is not changed.\n\n" +
    "--as-of may be ahead of the clock, if you are sure that the day is over; events that arrive " +
    "later become adjustments of the next day.\n\n" +
    "The recount needs NATS, as royalty or auditor. --without-recount requires --by: the manifest " +
    "contains the person and the reason.",
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
    by: {
      type: "string",
      value: "PERSON",
      about: "who is responsible for closing without a recount",
      parser: text(200),
    },
    json: JSON_OPTION,
  },
  examples: [
    { args: ["--day", "2026-11-22"] },
    {
      args: ["--day", "2026-11-22", "--without-recount", "stream restored", "--by", "A. Person"],
      about: "when the raw heartbeats are no longer kept",
    },
  ],
  async run({ day, asOf, withoutRecount: reason, by, json }, io) {
    const waiver = waiverOf(reason, by);
    return await withCloser((closer) => closer.close(day, asOf, waiver), { json, io });
  },
});

function waiverOf(reason: string | undefined, by: string | undefined): Waiver | undefined {
  if (reason === undefined && by === undefined) return undefined;
  if (reason === undefined || by === undefined) {
    throw new Misuse("--without-recount REASON and --by PERSON go together");
  }
  return { by, reason };
}
