/**
 * `deno task royalty verify-chain`.
 *
 * @module
 */
import { readEntries, readStatementLines, readStored } from "../books/statements.ts";
import { readClosingState } from "../closing/seals.ts";
import { ChainCheck } from "../statement/chain.ts";
import { statementFiles } from "./with_closer.ts";
import { type Books, type Command, readArguments, withBooks } from "./command.ts";
import type { StatementFiles } from "../statement/files.ts";

export const verifyChainCommand: Command = {
  name: "verify-chain",
  usage: `verify-chain
every hash, total and link of every statement again, and the files of TWOFOLD_STATEMENTS_DIR;
exits 1 and names what is broken`,
  async run(args) {
    readArguments("verify-chain", args, {});
    const files = statementFiles();
    const { count, head, faults } = await withBooks((sql) => verify(sql, files));
    for (const fault of faults) console.log(`BROKEN  ${fault}`);
    const what = `${count} statements${files ? ` and their files in ${files.folder}` : ""}`;
    console.log(
      faults.length === 0
        ? `the chain holds: ${what}${head === undefined ? "" : `, the last is ${head}`}`
        : `the chain is BROKEN: ${what} checked, faults: ${faults.length}`,
    );
    return faults.length === 0 ? 0 : 1;
  },
};

interface Verification {
  readonly count: number;
  /** The last manifest's hash: two people with the same one have the same statements. */
  readonly head: string | undefined;
  readonly faults: readonly string[];
}

async function verify(sql: Books, files: StatementFiles | undefined): Promise<Verification> {
  const verification = await sql.begin("isolation level repeatable read read only", async (tx) => {
    const state = await readClosingState(tx);
    const entries = (await readEntries(tx)).reverse();
    const check = new ChainCheck();
    const faults: string[] = [];
    for (const { recognised_day: day, version } of entries) {
      const statement = (await readStored(tx, day, version))!;
      faults.push(...check.next(statement, await readStatementLines(tx, day, version)));
      faults.push(...await files?.faults(statement) ?? []);
    }
    faults.push(...check.end(state.oldestOpenDay, state.sealedDay));
    return { count: entries.length, head: entries.at(-1)?.sha256, faults };
  });
  return verification as Verification;
}
