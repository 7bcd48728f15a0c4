/**
 * `deno task royalty acts`.
 *
 * @module
 */
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../shared/process/cli/declaration.ts";
import { integer } from "../../shared/process/cli/parsers.ts";
import { toJson } from "../../shared/process/cli/json_output.ts";
import { left, renderTable } from "../../shared/process/cli/table.ts";
import { readActs, type RecordedAct } from "../books/acts.ts";
import { withBooks } from "./connections.ts";

const SHOWN_HASH_CHARS = 12;

/** `deno task royalty acts`: shows who did what to the books. */
export const actsCommand = command({
  name: "acts",
  summary: "show who decided what about the books, when and why",
  details:
    "Closes, early closes, waivers of the recount, reissues, settled gaps and loads of the " +
    "catalogue, oldest first. The times are those of Postgres. --json has the whole hashes.",
  options: {
    limit: {
      type: "string",
      value: "N",
      about: "the newest N acts",
      parser: integer(1),
      default: "50",
    },
    json: JSON_OPTION,
  },
  examples: [{ args: [] }, { args: ["--limit", "1000", "--json"], about: "for an auditor" }],
  async run({ limit, json }, io) {
    const acts = await withBooks((sql) => readActs(sql, { limit }));
    if (json) io.out.write(toJson({ acts }));
    else io.out.line(acts.length === 0 ? "there are no acts yet" : actsText(acts));
    return 0;
  },
});

function actsText(acts: readonly RecordedAct[]): string {
  const columns = ["at", "act", "by", "about", "why", "before", "after"].map((name) => left(name));
  return renderTable(
    columns,
    acts.map(({ at, kind, by, subject, reason = "", beforeSha256 = "", afterSha256 = "" }) => [
      ...[at, kind, by, subject, reason],
      ...[beforeSha256, afterSha256].map((hash) => hash.slice(0, SHOWN_HASH_CHARS)),
    ]),
  );
}
