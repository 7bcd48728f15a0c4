/**
 * `deno task royalty export`.
 *
 * @module
 */
import { messageOf, Refused } from "../../shared/process/errors.ts";
import { readEntries, readStored } from "../books/statements.ts";
import {
  type Books,
  type Command,
  readArguments,
  requiredDay,
  wholeNumberFlag,
  withBooks,
  writeAll,
} from "./command.ts";
import { readRecognisedLines } from "../books/lines.ts";
import { statementCsv } from "../statement/csv.ts";

export const exportCommand: Command = {
  name: "export",
  usage: `export --day YYYY-MM-DD [--version N] [--out FILE]
the statement of a closed day, byte for byte as it was issued; of an open day the lines so
far, which are provisional`,
  async run(args) {
    const given = readArguments("export", args, { valued: ["--day", "--version", "--out"] });
    const day = requiredDay(given);
    const version = wholeNumberFlag(given, "--version");
    const csv = await withBooks((sql) => csvOf(sql, day, version));
    const out = given.flags.get("--out");
    if (out === undefined) await writeAll(csv);
    else await writeFileWhole(out, csv);
    return 0;
  },
};

async function csvOf(
  sql: Books,
  day: string,
  version: number | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const stored = await readStored(sql, day, version);
  if (stored) return stored.csv;
  if (version !== undefined) {
    const versions = (await readEntries(sql, day)).map((each) => each.version).reverse();
    throw new Refused(
      versions.length === 0
        ? `${day} is not closed, so it has no versions; without --version its lines so far are given`
        : `${day} has no version ${version}; it has ${versions.join(", ")}`,
    );
  }
  console.error(`royalty: ${day} is not closed; these lines are provisional`);
  return statementCsv(await readRecognisedLines(sql, day));
}

// A reader never sees half a file.
async function writeFileWhole(file: string, content: Uint8Array): Promise<void> {
  const part = `${file}.part`;
  try {
    await Deno.writeFile(part, content);
    await Deno.rename(part, file);
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    throw new Refused(`${file} cannot be written: ${messageOf(error)}`);
  }
}
