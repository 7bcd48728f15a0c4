import { assertEquals, assertStringIncludes } from "@std/assert";
import { runCommand } from "../../dev/testing/child_process.ts";

const CHAOS = new URL("./chaos.ts", import.meta.url).pathname;
/** One round: what CI has time for. */
const SEED = 1;

Deno.test("a round of chaos loses nothing, pages, and leaves everything healthy", async () => {
  const { code, out, err } = await runCommand(Deno.execPath(), [
    ...["run", "--quiet", "-A", CHAOS, "--seed", String(SEED), "--minutes", "0.75"],
  ]);
  assertEquals(code, 0, `${out}${err}`);
  assertStringIncludes(out, `seed ${SEED}`);
});
