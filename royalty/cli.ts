/**
 * `deno task royalty <command>`: finance's commands.
 *
 * @module
 */
import { messageOf, Stop } from "../shared/process/errors.ts";
import { auditCommand } from "./commands/audit.ts";
import { catalogueCommand } from "./commands/catalogue.ts";
import { closeCommand } from "./commands/close.ts";
import { exportCommand } from "./commands/export.ts";
import { rebuildCommand } from "./commands/rebuild.ts";
import { recountCommand } from "./commands/recount.ts";
import { reissueCommand } from "./commands/reissue.ts";
import { settleGapCommand } from "./commands/settle_gap.ts";
import { statusCommand } from "./commands/status.ts";
import { verifyChainCommand } from "./commands/verify_chain.ts";
import { type Command, Misuse } from "./commands/command.ts";

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
