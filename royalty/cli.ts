/**
 * `deno task royalty COMMAND`: finance's commands.
 *
 * @module
 */
import type { CommandGroup } from "../shared/process/cli/declaration.ts";
import { main } from "../shared/process/cli/run.ts";
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

/** The task and its commands. */
export const royaltyTask: CommandGroup = {
  name: "royalty",
  summary: "finance's commands",
  details: "Postgres is TWOFOLD_POSTGRES_URL, or the one that deno task up runs here.",
  commands: [
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
  ],
};

if (import.meta.main) await main(royaltyTask);
