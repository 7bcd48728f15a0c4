import { assert, assertEquals } from "@std/assert";
import { declarationProblems } from "../shared/dev/testing/declaration_problems.ts";
import { captureIo } from "../shared/process/cli/io.ts";
import { runCommandLine } from "../shared/process/cli/run.ts";
import { liveTask } from "./cli.ts";

Deno.test("the commands are declared without a problem", () => {
  assertEquals(declarationProblems(liveTask), []);
});

Deno.test("a silence that cannot be meant is refused before anything is connected", async () => {
  const who = ["--by", "ada", "--reason", "x"];
  const de = ["silence", "--subject", "alerts.*.de.>", ...who];
  const past = ["--from", "2020-01-01T00:00:00Z"];
  const cases: [args: string[], expected: string][] = [
    [["silence", ...who, "--for", "1h"], "--subject"],
    [["silence", "--subject", "hb.>", ...who, "--for", "1h"], "pattern of alerts"],
    [["silence", "--subject", "alerts.>", "--for", "1h", "--reason", "x"], "--by"],
    [de, "either --for"],
    [[...de, "--for", "1h", "--until", "2030-01-01T00:00:00Z"], "either --for"],
    [[...de, "--for", "0h"], "duration"],
    [[...de, "--for", "31d"], "duration"],
    [[...de, "--for", "1h", ...past], "over already"],
    [[...de, "--until", "2090-01-01T00:00:00Z"], "30 days"],
    [["unsilence", "A b", "--by", "ada"], "an id"],
    [["unsilence", "a"], "--by"],
  ];
  for (const [args, expected] of cases) {
    const { io, out, err } = captureIo();
    assertEquals(await runCommandLine(liveTask, args, io), 2, args.join(" "));
    assertEquals(out(), "");
    assert(err().includes(expected), err());
  }
});
