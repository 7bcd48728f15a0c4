/**
 * `deno task royalty catalogue`.
 *
 * @module
 */
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../shared/process/cli/declaration.ts";
import type { Io } from "../../shared/process/cli/io.ts";
import { filePath } from "../../shared/process/cli/parsers.ts";
import { messageOf, Refused } from "../../shared/process/errors.ts";
import { toJson } from "../../shared/process/cli/json_output.ts";
import { progress } from "../../shared/process/cli/progress.ts";
import { putCatalogue, type PutTitles } from "../books/stored_catalogue.ts";
import { type BadRow, type CatalogueEntry, parseCatalogue } from "../statement/catalogue.ts";
import { withBooks } from "./connections.ts";

/** `deno task royalty catalogue`: loads the catalogue from CSV. */
export const catalogueCommand = command({
  name: "catalogue",
  summary: "load the studios of titles from CSV, all rows or none",
  details: "The header is title_id,studio or title_id,studio,title_name. Titles that the file " +
    "does not contain are not changed. If any row cannot be used, nothing is loaded.",
  positionals: [
    { name: "file", about: "the CSV file, UTF-8", parser: filePath(), required: true },
  ],
  options: { json: JSON_OPTION },
  examples: [{ args: ["titles.csv"] }],
  async run({ file, json }, io) {
    const parsed = parseCatalogue(await readText(file));
    if (!parsed.ok) return reportBadRows(file, parsed.badRows, json, io);
    const put = await load(parsed.entries, io);
    if (json) io.out.write(toJson({ loaded: true, ...put }));
    else {
      const { added, changed, unchanged } = put;
      io.out.line(`titles added: ${added}, changed: ${changed}, unchanged: ${unchanged}`);
    }
    return 0;
  },
});

async function load(entries: readonly CatalogueEntry[], io: Io): Promise<PutTitles> {
  using shown = progress("titles", entries.length, { to: io.err });
  return await withBooks((sql) => putCatalogue(sql, entries, shown.at));
}

function reportBadRows(
  file: string,
  badRows: readonly BadRow[],
  json: boolean,
  io: Io,
): number {
  for (const { line, reason } of badRows) io.err.line(`${file}:${line}: ${reason}`);
  io.err.line(`royalty: nothing was loaded; bad rows: ${badRows.length}`);
  if (json) io.out.write(toJson({ loaded: false, badRows }));
  return 1;
}

async function readText(file: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await Deno.readFile(file));
  } catch (error) {
    const why = error instanceof TypeError ? "it is not UTF-8" : messageOf(error);
    throw new Refused(`${file} cannot be read: ${why}`);
  }
}
