/**
 * `deno task royalty catalogue`.
 *
 * @module
 */
import { messageOf, Refused } from "../../shared/process/errors.ts";
import { parseCatalogue } from "../statement/catalogue.ts";
import { type Command, Misuse, readArguments, withBooks } from "./command.ts";
import { putCatalogue } from "../books/catalogue.ts";

export const catalogueCommand: Command = {
  name: "catalogue",
  usage: `catalogue FILE
load title_id,studio[,title_name] from CSV, all or nothing`,
  async run(args) {
    const [file] = readArguments("catalogue", args, { operands: 1 }).operands;
    if (file === undefined) throw new Misuse("catalogue needs a FILE");
    const parsed = parseCatalogue(await readText(file));
    if (!parsed.ok) {
      for (const { line, reason } of parsed.badRows) console.error(`${file}:${line}: ${reason}`);
      console.error(`royalty: nothing was loaded; bad rows: ${parsed.badRows.length}`);
      return 1;
    }
    const put = await withBooks((sql) => putCatalogue(sql, parsed.entries));
    console.log(`titles added: ${put.added}, changed: ${put.changed}, unchanged: ${put.unchanged}`);
    return 0;
  },
};

async function readText(file: string): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await Deno.readFile(file));
  } catch (error) {
    const why = error instanceof TypeError ? "it is not UTF-8" : messageOf(error);
    throw new Refused(`${file} cannot be read: ${why}`);
  }
}
