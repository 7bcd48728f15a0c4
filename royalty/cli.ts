/**
 * `deno task royalty COMMAND`: the commands of finance.
 *
 * @module
 */
import type { CommandGroup } from "../shared/process/cli/declaration.ts";
import { main } from "../shared/process/cli/run.ts";
import { actsCommand } from "./commands/acts.ts";
import { auditCommand } from "./commands/proofs/audit.ts";
import { catalogueCommand } from "./commands/catalogue.ts";
import { closeCommand } from "./commands/close.ts";
import { exportCommand } from "./commands/export.ts";
import { openCommand } from "./commands/open.ts";
import { rebuildCommand } from "./commands/proofs/rebuild.ts";
import { recountCommand } from "./commands/proofs/recount.ts";
import { reissueCommand } from "./commands/reissue.ts";
import { settleGapCommand } from "./commands/settle_gap.ts";
import { statusCommand } from "./commands/status.ts";
import { verifyChainCommand } from "./commands/proofs/verify_chain.ts";

/** The task `royalty` and its commands. */
export const royaltyTask: CommandGroup = {
  name: "royalty",
  summary: "close days, export statements, audit and prove them",
  details: "The commands use TWOFOLD_POSTGRES_URL, or the Postgres of a local deno task up.",
  commands: [
    statusCommand,
    exportCommand,
    catalogueCommand,
    openCommand,
    closeCommand,
    settleGapCommand,
    reissueCommand,
    verifyChainCommand,
    recountCommand,
    rebuildCommand,
    auditCommand,
    actsCommand,
  ],
};

if (import.meta.main) await main(royaltyTask);
