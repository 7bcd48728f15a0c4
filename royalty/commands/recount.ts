/**
 * `deno task royalty recount`.
 *
 * @module
 */
import { withRawStreams } from "./with_raw_streams.ts";
import { type Command, readArguments, requiredDay } from "./command.ts";
import { recountDay } from "../recount/day.ts";
import { agrees, recountText } from "../recount/report.ts";

export const recountCommand: Command = {
  name: "recount",
  usage: `recount --day YYYY-MM-DD
derive a day once more from the raw heartbeats, by another algorithm, and compare it with the
books to the millisecond; exits 1 on any difference. Needs NATS, as royalty or auditor`,
  async run(args) {
    const day = requiredDay(readArguments("recount", args, { valued: ["--day"] }));
    const report = await withRawStreams((options) => recountDay(day, options));
    console.log(recountText(report));
    return agrees(report) ? 0 : 1;
  },
};
