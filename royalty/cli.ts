/**
 * `deno task royalty <command>`: finance's commands.
 *
 * @module
 */
import { messageOf, Stop } from "../shared/errors.ts";
import { auditCommand } from "./cli_audit.ts";
import { catalogueCommand } from "./cli_catalogue.ts";
import { closeCommand } from "./cli_close.ts";
import { exportCommand } from "./cli_export.ts";
import { rebuildCommand } from "./cli_rebuild.ts";
import { recountCommand } from "./cli_recount.ts";
import { reissueCommand } from "./cli_reissue.ts";
import { settleGapCommand } from "./cli_settle_gap.ts";
import { statusCommand } from "./cli_status.ts";
import { verifyChainCommand } from "./cli_verify_chain.ts";
import { type Command, Misuse } from "./command.ts";

const COMMANDS: readonly Command[] = [
  statusCommand,
  exportCommand,
  catalogueCommand,
  closeCommand,
  settleGapCommand,
  reissueCommand,
  verifyChainCommand,
  recountCommand,
  rebuildCommand,
  auditCommand,
];

const USAGE = `usage: deno task royalty <command>

${COMMANDS.map(({ usage }) => `  ${usage.replaceAll("\n", "\n      ")}`).join("\n")}

Postgres is TWOFOLD_POSTGRES_URL, or the one that deno task up runs here.`;

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    console.error(`royalty: ${messageOf(error)}`);
    if (error instanceof Misuse) console.error(`\n${USAGE}`);
    Deno.exit(error instanceof Misuse ? 2 : error instanceof Stop ? error.exitCode : 1);
  }
}

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) throw new Misuse("which command?");
  if (["help", "--help", "-h"].includes(name)) {
    console.log(USAGE);
    return 0;
  }
  const command = COMMANDS.find((each) => each.name === name);
  if (!command) throw new Misuse(`unknown command ${name}`);
  return await command.run(rest);
}
