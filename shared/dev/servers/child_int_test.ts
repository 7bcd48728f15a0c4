import { assertEquals } from "@std/assert";
import { Child } from "./child.ts";
import { waitFor } from "../testing/wait_for.ts";
import { Workspace } from "./workspace.ts";

Deno.test("the output of a process is in its log while it runs", async () => {
  await using workspace = await Workspace.temporary();
  const child = await Child.start(workspace, {
    name: "talker",
    command: "sh",
    args: ["-c", "echo said; echo complained >&2; exec sleep 60"],
  });
  const lines = async () => (await child.tail()).split("\n").sort();
  await waitFor("both lines", async () => (await lines()).length === 2);
  assertEquals(await lines(), ["complained", "said"]);
  assertEquals(child.exitCode, null);
  await child.stop("SIGKILL");
});
