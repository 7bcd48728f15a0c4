/**
 * `deno task royalty open`.
 *
 * @module
 */
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../shared/process/cli/declaration.ts";
import { day } from "../../shared/process/cli/parsers.ts";
import { toJson } from "../../shared/process/cli/json_output.ts";
import { openFirstDay } from "../closing/first_day.ts";
import { withBooks } from "./connections.ts";
import { BY_OPTION, REASON_OPTION } from "./deed_options.ts";

/** `deno task royalty open`: decides the first day that gets a statement. */
export const openCommand = command({
  name: "open",
  summary: "decide the first day that gets a statement; until then none closes by itself",
  details:
    "What was watched before that day is in its statement, as adjustments. It can be decided " +
    "once.",
  options: {
    day: { type: "string", value: "YYYY-MM-DD", about: "the day", parser: day(), required: true },
    by: BY_OPTION,
    reason: REASON_OPTION,
    json: JSON_OPTION,
  },
  examples: [{ args: ["--day", "2026-11-22", "--by", "A. Person"] }],
  async run({ day, by, reason, json }, io) {
    await withBooks((sql) => openFirstDay(sql, day, { by, reason }));
    if (json) io.out.write(toJson({ firstDay: day }));
    else io.out.line(`${day} is the first day that gets a statement`);
    return 0;
  },
});
