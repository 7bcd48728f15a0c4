/**
 * `deno task royalty settle-gap`.
 *
 * @module
 */
import { Refused } from "../../shared/process/errors.ts";
import { readOpenGaps, settleGap } from "../books/gaps.ts";
import { keptText } from "./with_closer.ts";
import {
  type Books,
  type Command,
  Misuse,
  readArguments,
  required,
  wholeNumberFlag,
  withBooks,
} from "./command.ts";

export const settleGapCommand: Command = {
  name: "settle-gap",
  usage: `settle-gap --stream STREAM --first SEQUENCE --by PERSON --reason TEXT
answer for sequences that a stream lost, so that days can close; the next manifest names
the person and the reason`,
  async run(args) {
    const valued = ["--stream", "--first", "--by", "--reason"];
    const given = readArguments("settle-gap", args, { valued });
    const firstSeq = wholeNumberFlag(given, "--first");
    if (firstSeq === undefined) throw new Misuse("settle-gap needs --first SEQUENCE");
    const settlement = {
      stream: required(given, "--stream", "STREAM"),
      firstSeq,
      by: keptText("--by", required(given, "--by", "PERSON")),
      reason: keptText("--reason", required(given, "--reason", "TEXT")),
      at: Date.now(),
    };
    return await withBooks((sql) => settle(sql, settlement));
  },
};

async function settle(sql: Books, settlement: Parameters<typeof settleGap>[1]): Promise<number> {
  const { stream, firstSeq, by } = settlement;
  const settling = await settleGap(sql, settlement);
  if (settling.kind === "settled") {
    console.log(`${stream}: sequences ${firstSeq} to ${settling.gap.lastSeq} are settled by ${by}`);
    return 0;
  }
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
