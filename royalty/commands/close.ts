/**
 * `deno task royalty close`.
 *
 * @module
 */
import { keptText, withCloser } from "./with_closer.ts";
import type { Waiver } from "../closing/closer.ts";
import { type Arguments, type Command, Misuse, readArguments, requiredDay } from "./command.ts";

export const closeCommand: Command = {
  name: "close",
  usage: `close --day YYYY-MM-DD [--as-of INSTANT] [--without-recount REASON --by PERSON]
close a day and issue its statement; a day closed before stays as it is. INSTANT, such as
2026-11-23T01:00:00Z, is taken for the present: ahead of the clock, somebody vouches that
the day is over, and what comes later is an adjustment of the next day`,
  async run(args) {
    const valued = ["--day", "--as-of", "--without-recount", "--by"];
    const given = readArguments("close", args, { valued });
    const day = requiredDay(given);
    const asOf = asOfFlag(given);
    const waiver = waiverFlag(given);
    return await withCloser((closer) => closer.close(day, asOf, waiver));
  },
};

function asOfFlag({ flags }: Arguments): number | undefined {
  const text = flags.get("--as-of");
  if (text === undefined) return undefined;
  const hasZone = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/.test(
    text,
  );
  const instant = Date.parse(text);
  if (!hasZone || Number.isNaN(instant)) {
    throw new Misuse(`--as-of ${text} is not an instant; write it like 2026-11-23T01:00:00Z`);
  }
  return instant;
}

function waiverFlag({ flags }: Arguments): Waiver | undefined {
  const [reason, by] = [flags.get("--without-recount"), flags.get("--by")];
  if (reason === undefined && by === undefined) return undefined;
  if (reason === undefined || by === undefined) {
    throw new Misuse("--without-recount REASON and --by PERSON go together");
  }
  return { by: keptText("--by", by), reason: keptText("--without-recount", reason) };
}
