/**
 * The task `deno task live COMMAND`: on-call's commands.
 *
 * @module
 */
import type { CommandGroup } from "../shared/process/cli/declaration.ts";
import { main } from "../shared/process/cli/run.ts";
import { explainCommand } from "./commands/explain.ts";
import { silenceCommand, silencesCommand, unsilenceCommand } from "./commands/silence.ts";

/** `deno task live` and its commands. */
export const liveTask: CommandGroup = {
  name: "live",
  summary: "on-call's commands",
  details: "NATS is TWOFOLD_NATS_URL, or the one that deno task up runs here.",
  commands: [explainCommand, silenceCommand, silencesCommand, unsilenceCommand],
};

if (import.meta.main) await main(liveTask);
