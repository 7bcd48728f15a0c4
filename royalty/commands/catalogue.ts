/**
 * `deno task royalty catalogue`.
 *
 * @module
 */
import { command } from "../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../shared/process/cli/declaration.ts";
import type { Io } from "../../shared/process/cli/io.ts";
import { filePath } from "../../shared/process/cli/parsers.ts";
import { localEnvironment, readSettings } from "../../shared/process/config.ts";
import { messageOf, Refused } from "../../shared/process/errors.ts";
import { toJson } from "../../shared/process/cli/json_output.ts";
import { progress } from "../../shared/process/cli/progress.ts";
import {
  type CatalogueDeed,
  putCatalogue,
  type PutTitles,
  readTerritories,
} from "../books/stored_catalogue.ts";
import { royaltyCliSettings } from "../settings.ts";
import {
  type Catalogue,
  EVERYWHERE,
  parseCatalogue,
  type RowNote,
} from "../statement/catalogue.ts";
import { withBooks } from "./connections.ts";
import { BY_OPTION, REASON_OPTION } from "./deed_options.ts";

/** Notes of one kind that are shown one by one. */
const MAX_NOTES = 20;

/** `deno task royalty catalogue`: loads the catalogue from CSV. */
export const catalogueCommand = command({
  name: "catalogue",
  summary: "load who is paid for titles from CSV, all rows or none",
  details: "The header is title_id,territory,studio,from,to or title_id,studio, each with or " +
    `without title_name. A territory ${EVERYWHERE} or all is every territory. from and to are the ` +
    "first and the last event day; empty, or without the column, there is none. The rows of a " +
    "title replace those that it had; titles that the file does not contain are not changed. If " +
    "any row cannot be used, or two are about the same title, territory and day, nothing is loaded.",
  positionals: [
    { name: "file", about: "the CSV file, UTF-8", parser: filePath(), required: true },
  ],
  options: { by: BY_OPTION, reason: REASON_OPTION, json: JSON_OPTION },
  examples: [{ args: ["titles.csv", "--by", "A. Person"] }],
  async run({ file, by, reason, json }, io) {
    const { TWOFOLD_TERRITORIES } = readSettings(royaltyCliSettings, localEnvironment("royalty"));
    const parsed = parseCatalogue(await readText(file), TWOFOLD_TERRITORIES);
    if (!parsed.ok) return reportBadRows(file, parsed.badRows, json, io);
    const { put, notes } = await load(parsed, { by, reason, file }, io);
    showNotes(file, notes, io);
    if (json) io.out.write(toJson({ loaded: true, ...put, notes }));
    else {
      const { added, changed, unchanged } = put;
      io.out.line(`titles added: ${added}, changed: ${changed}, unchanged: ${unchanged}`);
    }
    return 0;
  },
});

type GoodCatalogue = Catalogue & { readonly ok: true };

async function load(
  catalogue: GoodCatalogue,
  deed: CatalogueDeed,
  io: Io,
): Promise<{ readonly put: PutTitles; readonly notes: readonly RowNote[] }> {
  const { rights, holes } = catalogue;
  using shown = progress("rights", rights.length, { to: io.err });
  return await withBooks(async (sql) => {
    const put = await putCatalogue(sql, rights, deed, shown.at);
    const unseen = unseenTerritories(catalogue, await readTerritories(sql));
    return { put, notes: [...holes, ...unseen].sort((a, b) => a.line - b.line) };
  });
}

/** The first row of each territory from which the books have no minutes. */
function unseenTerritories(
  { rights, lines }: GoodCatalogue,
  seen: ReadonlySet<string>,
): readonly RowNote[] {
  const known = new Set([...seen, EVERYWHERE]);
  return rights.flatMap(({ territory }, i) => {
    if (known.has(territory)) return [];
    known.add(territory);
    return [{ line: lines[i] ?? 0, reason: `no minutes of the last days are from ${territory}` }];
  });
}

function showNotes(file: string, notes: readonly RowNote[], io: Io): void {
  for (const { line, reason } of notes.slice(0, MAX_NOTES)) {
    io.err.line(`${file}:${line}: note: ${reason}`);
  }
  const more = notes.length - MAX_NOTES;
  if (more > 0) io.err.line(`${file}: ${more} more notes; --json has them all`);
}

function reportBadRows(
  file: string,
  badRows: readonly RowNote[],
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
