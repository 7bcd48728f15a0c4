/**
 * `deno task royalty recount`.
 *
 * @module
 */
import { command } from "../../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../../shared/process/cli/declaration.ts";
import { day } from "../../../shared/process/cli/parsers.ts";
import { toJson } from "../../../shared/process/cli/json_output.ts";
import { progress } from "../../../shared/process/cli/progress.ts";
import { recountDay } from "../../recount/day.ts";
import { agrees, recountFacts, recountText } from "../../recount/report.ts";
import { withRawStreams } from "../connections.ts";
import { RECOUNT_LABEL } from "../with_closer.ts";

/** `deno task royalty recount`: recounts a day and compares it with the books. */
export const recountCommand = command({
  name: "recount",
  summary: "recount a day from the raw heartbeats, by another algorithm",
  details: "The result is compared with the books to the millisecond; exits 1 on any difference. " +
    "Needs NATS, as royalty or auditor, and 32 bytes per heartbeat in TWOFOLD_RECOUNT_DIR.",
  options: {
    day: { type: "string", value: "YYYY-MM-DD", about: "the day", parser: day(), required: true },
    json: JSON_OPTION,
  },
  examples: [{ args: ["--day", "2026-11-23"] }],
  async run({ day, json }, io) {
    using shown = progress(RECOUNT_LABEL, undefined, { to: io.err });
    const report = await withRawStreams((options) =>
      recountDay(day, { ...options, onProgress: shown.at })
    );
    shown.end();
    if (json) io.out.write(toJson(recountFacts(report)));
    else io.out.line(recountText(report));
    return agrees(report) ? 0 : 1;
  },
});
