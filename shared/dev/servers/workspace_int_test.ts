import { assert, assertEquals } from "@std/assert";
import { waitFor } from "../testing/wait_for.ts";

const OWNER = `
  import { NatsServer } from "${import.meta.resolve("./nats_server.ts")}";
  import { PostgresServer } from "${import.meta.resolve("./postgres_server.ts")}";
  import { Workspace } from "${import.meta.resolve("./workspace.ts")}";
  const workspace = await Workspace.temporary();
  const nats = await NatsServer.start(workspace);
  const database = await PostgresServer.start(workspace);
  console.log(JSON.stringify({ folder: workspace.folder, pids: [nats.pid, database.pid] }));
  await new Promise((resolve) => setTimeout(resolve, 60_000));
`;

Deno.test("a crash of the process that started them takes the servers and the folder along", async () => {
  const owner = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", OWNER],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const { folder, pids } = JSON.parse(await firstLine(owner.stdout));
  assert(await exists(folder));
  assertEquals(pids.map(isAlive), [true, true]);

  owner.kill("SIGKILL");
  await owner.status;

  await waitFor("the servers to end", () => !pids.some(isAlive));
  await waitFor("the folder to go", async () => !(await exists(folder)));
});

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.includes("\n")) break;
  }
  const [line = ""] = text.split("\n", 1);
  return line;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

function isAlive(pid: number): boolean {
  try {
    // A zombie waits for its parent, which is gone: it counts as ended.
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}
