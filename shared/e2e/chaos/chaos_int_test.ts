import { assertEquals, assertStringIncludes } from "@std/assert";
import { runCommand } from "../../dev/testing/child_process.ts";

const CHAOS = new URL("./chaos.ts", import.meta.url).pathname;
/** Three rounds: what CI has time for. */
const RUNS = [
  { seed: "10", minutes: "0.75", nodes: "1" },
  { seed: "17", minutes: "1.5", nodes: "3" },
];

for (const { seed, minutes, nodes } of RUNS) {
  Deno.test(`chaos loses nothing, pages, and leaves all healthy: seed ${seed}, NATS servers: ${nodes}`, async () => {
    const { code, out, err } = await runCommand(Deno.execPath(), [
      ...["run", "--quiet", "-A", CHAOS],
      ...["--seed", seed, "--minutes", minutes, "--nodes", nodes],
    ]);
    assertEquals(code, 0, `${out}${err}`);
    assertStringIncludes(out, `seed ${seed}`);
  });
}
