import { assert, assertEquals } from "@std/assert";
import { ChildProcess, isAlive } from "../testing/child_process.ts";
import { waitFor } from "../testing/wait_for.ts";

const OWNER = `
  import { NatsServer } from "${import.meta.resolve("./nats_server.ts")}";
  import { PostgresServer } from "${import.meta.resolve("./postgres_server.ts")}";
  import { Workspace } from "${import.meta.resolve("./workspace.ts")}";
  const workspace = await Workspace.temporary();
  const [nats, database] = await Promise.all([
    NatsServer.start(workspace),
    PostgresServer.start(workspace),
  ]);
  console.log(JSON.stringify({ folder: workspace.folder, pids: [nats.pid, database.pid] }));
  for await (const _ of Deno.stdin.readable);
`;

Deno.test("servers and folder are removed after a crash of the process that started them", async () => {
  await using owner = new ChildProcess(Deno.execPath(), ["eval", "--quiet", OWNER], {
    hasInput: true,
  });
  const line = await waitFor("the servers", () => owner.out.split("\n").at(-2), {
    timeoutMs: 60_000,
  });
  const { folder, pids }: { folder: string; pids: number[] } = JSON.parse(line);
  assert(await exists(folder));
  assertEquals(pids.map(isAlive), [true, true]);

  await owner.stop("SIGKILL");

  await waitFor("the servers to end", () => !pids.some(isAlive));
  await waitFor("the folder to go", async () => !(await exists(folder)));
});

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
