/**
 * The task `deno task contract`: writes the published documents of alerts from their schemas.
 *
 * @module
 */
import { contractFiles } from "../contract/asyncapi.ts";
import { command } from "../process/cli/command.ts";
import { main } from "../process/cli/run.ts";

const CONTRACT = new URL("../contract/", import.meta.url);

/** `deno task contract`. */
export const contractTask = command({
  name: "contract",
  summary: "write shared/contract/asyncapi.json and alert.schema.json",
  details: "A test fails while they are not what this writes.",
  options: {},
  examples: [{ args: [] }],
  async run(_, io) {
    for (const [name, text] of contractFiles()) {
      await Deno.writeTextFile(new URL(name, CONTRACT), text);
      io.out.line(`shared/contract/${name}`);
    }
    return 0;
  },
});

if (import.meta.main) await main(contractTask);
