/**
 * `deno task royalty settle-gap`.
 *
 * @module
 */
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../shared/process/cli/declaration.ts";
import { integer, text } from "../../shared/process/cli/parsers.ts";
import { Refused } from "../../shared/process/errors.ts";
import { toJson } from "../../shared/process/cli/json_output.ts";
import { type GapSettlement, type OpenGap, readOpenGaps, settleGap } from "../books/gaps.ts";
import { type Books, withBooks } from "./connections.ts";
import { BY_OPTION, REASON_OPTION } from "./deed_options.ts";

/** `deno task royalty settle-gap`: settles a gap, so that days can close. */
export const settleGapCommand = command({
  name: "settle-gap",
  summary: "settle a gap: take responsibility for lost sequences, so that days can close",
  details: "The next manifest contains the person and the reason.",
  options: {
    stream: {
      type: "string",
      value: "STREAM",
      about: "the stream that has the gap",
      parser: text(200),
      required: true,
    },
    first: {
      type: "string",
      value: "SEQUENCE",
      about: "the first sequence of the gap",
      parser: integer(1),
      required: true,
    },
    by: BY_OPTION,
    reason: { ...REASON_OPTION, about: "what happened", required: true },
    json: JSON_OPTION,
  },
  examples: [{
    args: [
      "--stream",
      "HEARTBEATS",
      "--first",
      "812",
      "--by",
      "A. Person",
      "--reason",
      "disk lost",
    ],
  }],
  async run({ stream, first: firstSeq, by, reason, json }, io) {
    const settlement = { stream, firstSeq, by, reason };
    const gap = await withBooks((sql) => settle(sql, settlement));
    if (json) io.out.write(toJson({ ...gap, settledBy: by, reason }));
    else io.out.line(`${stream}: sequences ${firstSeq} to ${gap.lastSeq} are settled by ${by}`);
    return 0;
  },
});

async function settle(sql: Books, settlement: GapSettlement): Promise<OpenGap> {
  const { stream, firstSeq } = settlement;
  const settling = await settleGap(sql, settlement);
  if (settling.kind === "settled") return settling.gap;
  if (settling.kind === "settled before") {
    throw new Refused(
      `the gap of ${stream} at ${firstSeq} was settled by ${settling.by}: ${settling.reason}`,
    );
  }
  const open = await readOpenGaps(sql);
  const named = open.map((gap) => `${gap.stream} ${gap.firstSeq} to ${gap.lastSeq}`).join(", ");
  throw new Refused(
    `${stream} has no gap that begins at ${firstSeq}; ` +
      (open.length === 0 ? "no gap is open" : `open are: ${named}`),
  );
}
