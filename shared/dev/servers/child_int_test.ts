import { assert, assertEquals } from "@std/assert";
import { ChildProcess, isAlive } from "../testing/child_process.ts";
import { processTree } from "../testing/measure.ts";
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

const OWNER = `
  import { Child } from "${import.meta.resolve("./child.ts")}";
  import { Workspace } from "${import.meta.resolve("./workspace.ts")}";
  const workspace = await Workspace.temporary();
  const options = { name: "sleeper", command: "sh", args: ["-c", "trap '' TERM; sleep 60 & wait; wait"] };
  const child = await Child.start(workspace, options);
  console.log(workspace.guardPid + " " + child.pid);
  for await (const _ of Deno.stdin.readable);
`;

Deno.test("a process ends with the one that started it, when the guard is killed with that", async () => {
  await using owner = new ChildProcess(Deno.execPath(), ["eval", "--quiet", OWNER], {
    hasInput: true,
  });
  const line = await waitFor("the child", () => owner.out.split("\n").at(-2), {
    timeoutMs: 60_000,
  });
  const [guard = 0, child = 0] = line.split(" ").map(Number);
  assert(isAlive(child));
  for (const pid of [owner.pid, guard]) Deno.kill(pid, "SIGKILL");
  await waitFor("the child to end", () => !isAlive(child));
});

Deno.test("a process that ends leaves no watcher", async () => {
  await using workspace = await Workspace.temporary();
  const child = await Child.start(workspace, { name: "sleeper", command: "sleep", args: ["60"] });
  const tree = await waitFor("the watcher", () => {
    const pids = processTree(child.pid);
    return pids.length === 2 ? pids : undefined;
  });
  await child.stop("SIGKILL");
  await waitFor("the watcher to end", () => !tree.some(isAlive));
});
