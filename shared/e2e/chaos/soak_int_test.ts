import { assertEquals, assertStringIncludes } from "@std/assert";
import { runCommand } from "../../dev/testing/child_process.ts";

const SOAK = new URL("./soak.ts", import.meta.url).pathname;

Deno.test("two minutes of load are in the books to the millisecond, and every process says its memory", async () => {
  const { code, out, err } = await runCommand(Deno.execPath(), [
    ...["run", "--quiet", "-A", SOAK, "--minutes", "2", "--rate", "1000", "--json"],
  ]);
  assertEquals(code, 0, `${out}${err}`);
  assertStringIncludes(out, "credited, of what was accepted, ms");
});
