import { assert, assertEquals } from "@std/assert";
import { declarationProblems } from "../shared/dev/testing/declaration_problems.ts";
import { captureIo } from "../shared/process/cli/io.ts";
import { runCommandLine } from "../shared/process/cli/run.ts";
import { royaltyTask } from "./cli.ts";

Deno.test("the declarations of the commands are valid, and their examples and defaults parse", () => {
  assertEquals(declarationProblems(royaltyTask), []);
});

Deno.test("a mistake in the command line exits with 2 before anything is connected", async () => {
  const mistakes: readonly (readonly [args: readonly string[], problem: string])[] = [
    [[], "which command?"],
    [["close"], "--day YYYY-MM-DD is missing"],
    [["close", "--day", "2026-11-22"], "--by PERSON is missing"],
    [["reissue", "--day", "2026-11-22"], "--accept HASH, --by PERSON and --reason TEXT are needed"],
    [["settle-gap", "--stream", "HEARTBEATS"], "--first SEQUENCE is missing"],
    [["reissue", "--day", "2026-11-22", "--reason", " "], '--reason " " must be 1 to 200'],
    [["rebuild", "--day", "2026-11-22", "--into", "x:secret"], "--into is wrong: expected a post"],
    [
      ["rebuild", "--day", "2026-11-22", "--into", "postgres://u:secret@h:notaport/d"],
      "--into is wrong: expected a host, and a port from 1 to 65535",
    ],
    [["audit", "--day", "2026-11-22", "--limit", "3"], "--title ID is missing"],
    [["export", "--day", "2026-02-30"], "--day 2026-02-30 is not a day"],
    [["catalogue", "--by", "Ada"], "FILE is missing"],
  ];
  for (const [args, problem] of mistakes) {
    const { io, out, err } = captureIo();
    assertEquals([await runCommandLine(royaltyTask, args, io), out()], [2, ""], err());
    assertEquals(err().slice(0, `royalty: ${problem}`.length), `royalty: ${problem}`);
    assert(!err().includes("secret"), err());
  }
});
