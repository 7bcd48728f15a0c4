/**
 * `deno task royalty export`.
 *
 * @module
 */
import { command } from "../../shared/process/cli/command.ts";
import { day, filePath, integer } from "../../shared/process/cli/parsers.ts";
import { messageOf, Refused } from "../../shared/process/errors.ts";
import { readRecognisedLines } from "../books/lines.ts";
import { readEntries, readStored } from "../books/statements.ts";
import { statementCsv } from "../statement/statement_csv.ts";
import { type Books, withBooks } from "./connections.ts";

/** `deno task royalty export`: writes the CSV of a day. */
export const exportCommand = command({
  name: "export",
  summary: "write the statement of a day as CSV",
  details:
    "For a closed day, the statement, byte for byte as it was issued. For an open day, the " +
    "lines so far, which are provisional.",
  options: {
    day: { type: "string", value: "YYYY-MM-DD", about: "the day", parser: day(), required: true },
    version: {
      type: "string",
      value: "N",
      about: "version of the statement",
      parser: integer(1),
      absent: "the newest",
    },
    out: {
      type: "string",
      value: "FILE",
      about: "file to write; it appears whole or not at all",
      parser: filePath(),
      absent: "standard output",
    },
  },
  examples: [
    { args: ["--day", "2026-11-23"] },
    { args: ["--day", "2026-11-23", "--version", "1", "--out", "first.csv"] },
  ],
  async run({ day, version, out }, io) {
    const { csv, isProvisional } = await withBooks((sql) => csvOf(sql, day, version));
    if (isProvisional) io.err.line(`royalty: ${day} is not closed; these lines are provisional`);
    if (out === undefined) io.out.write(csv);
    else await writeFileAtomically(out, csv);
    return 0;
  },
});

interface Exported {
  readonly csv: Uint8Array<ArrayBuffer>;
  readonly isProvisional: boolean;
}

async function csvOf(sql: Books, day: string, version: number | undefined): Promise<Exported> {
  const stored = await readStored(sql, day, version);
  if (stored) return { csv: stored.csv, isProvisional: false };
  if (version !== undefined) {
    const versions = (await readEntries(sql, day)).map((each) => each.version).reverse();
    throw new Refused(
      versions.length === 0
        ? `${day} is not closed, so it has no versions; omit --version to export its lines so far`
        : `${day} has no version ${version}; it has ${versions.join(", ")}`,
    );
  }
  return { csv: statementCsv(await readRecognisedLines(sql, day)), isProvisional: true };
}

// Written under another name and renamed, so that readers never see a partial file.
async function writeFileAtomically(file: string, content: Uint8Array): Promise<void> {
  const part = `${file}.part`;
  try {
    await Deno.writeFile(part, content);
    await Deno.rename(part, file);
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    throw new Refused(`${file} cannot be written: ${messageOf(error)}`);
  }
}
