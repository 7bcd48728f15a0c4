/**
 * `deno task royalty verify-chain`.
 *
 * @module
 */
import { command } from "../../../shared/process/cli/command.ts";
import { JSON_OPTION } from "../../../shared/process/cli/declaration.ts";
import { toJson } from "../../../shared/process/cli/json_output.ts";
import { type OnProgress, progress } from "../../../shared/process/cli/progress.ts";
import { readEntries, readIssued, readStatementLines } from "../../books/statements.ts";
import { readClosingState } from "../../closing/sealing.ts";
import { ChainCheck } from "../../statement/chain.ts";
import type { StatementFiles } from "../../statement/files.ts";
import { type Books, withBooks } from "../connections.ts";
import { statementFiles } from "../with_closer.ts";

/** `deno task royalty verify-chain`: verifies every statement. */
export const verifyChainCommand = command({
  name: "verify-chain",
  summary: "verify every hash, total and link of every statement",
  details:
    "Also verifies the files in TWOFOLD_STATEMENTS_DIR, if it is set. Exits 1 on any fault " +
    "and lists the faults. Two installations with the same last hash have the same statements.",
  options: { json: JSON_OPTION },
  examples: [{ args: [] }],
  async run({ json }, io) {
    using shown = progress("statements", undefined, { to: io.err });
    const files = statementFiles();
    const found = await withBooks((sql) => verify(sql, files, shown.at));
    shown.end();
    const holds = found.faults.length === 0;
    if (json) io.out.write(toJson({ holds, ...found }));
    else io.out.line(verificationText(found));
    return holds ? 0 : 1;
  },
});

interface Verification {
  /** Number of statements verified. */
  readonly statements: number;
  /** Hash of the last manifest, which identifies the whole chain. */
  readonly lastSha256: string | undefined;
  /** Folder of the verified files; undefined when none is set. */
  readonly folder: string | undefined;
  readonly faults: readonly string[];
}

async function verify(
  sql: Books,
  files: StatementFiles | undefined,
  onProgress: OnProgress,
): Promise<Verification> {
  return await sql.begin("isolation level repeatable read read only", async (tx) => {
    const state = await readClosingState(tx);
    const entries = (await readEntries(tx)).reverse();
    const check = new ChainCheck();
    const faults: string[] = [];
    for (const [index, { recognised_day: day, version }] of entries.entries()) {
      const statement = await readIssued(tx, day, version);
      faults.push(...check.next(statement, await readStatementLines(tx, day, version)));
      faults.push(...await files?.faults(statement) ?? []);
      onProgress(index + 1, entries.length);
    }
    faults.push(...check.end(state.oldestOpenDay, state.sealedDay));
    return {
      statements: entries.length,
      lastSha256: entries.at(-1)?.sha256,
      folder: files?.folder,
      faults,
    };
  });
}

function verificationText({ statements, lastSha256, folder, faults }: Verification): string {
  const inFolder = folder === undefined ? "" : ` and their files in ${folder}`;
  const what = `${statements} statements${inFolder}`;
  const last = lastSha256 === undefined ? "" : `, the last is ${lastSha256}`;
  return [
    ...faults.map((fault) => `BROKEN  ${fault}`),
    faults.length === 0
      ? `the chain holds: ${what}${last}`
      : `the chain is BROKEN: ${what} checked, faults: ${faults.length}`,
  ].join("\n");
}
