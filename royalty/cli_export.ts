/**
 * `deno task royalty export`.
 *
 * @module
 */
import { messageOf, Refused } from "../shared/errors.ts";
import { type Command, readArguments, requiredDay, withBooks, writeAll } from "./command.ts";
import { readStatement } from "./ledger.ts";
import { statementCsv } from "./statement.ts";

export const exportCommand: Command = {
  name: "export",
  usage: `export --day YYYY-MM-DD [--out FILE]
the lines recognised on a day, as CSV`,
  async run(args) {
    const given = readArguments("export", args, { valued: ["--day", "--out"] });
    const day = requiredDay(given);
    const csv = statementCsv(await withBooks((sql) => readStatement(sql, day)));
    const out = given.flags.get("--out");
    if (out === undefined) await writeAll(csv);
    else await writeFileWhole(out, csv);
    return 0;
  },
};

// A reader never sees half a file.
async function writeFileWhole(file: string, text: string): Promise<void> {
  const part = `${file}.part`;
  try {
    await Deno.writeTextFile(part, text);
    await Deno.rename(part, file);
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    throw new Refused(`${file} cannot be written: ${messageOf(error)}`);
  }
}
