import { assertEquals } from "@std/assert";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { ScratchFolder } from "./scratch_folder.ts";
import { ChildProcess } from "../../shared/dev/testing/child_process.ts";

function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

Deno.test("making a folder removes those of killed processes and keeps those in use", async () => {
  const parent = await Deno.makeTempDir();
  const module = new URL("./scratch_folder.ts", import.meta.url).href;
  const script = `
    import { ScratchFolder } from "${module}";
    const folder = await ScratchFolder.make("${parent}");
    await Deno.writeTextFile(folder.path + "/0", "a run");
    setInterval(() => {}, 1_000);`;
  await using killed = new ChildProcess(Deno.execPath(), ["eval", script]);
  await waitFor("the process to write", () => {
    const [folder] = namesIn(parent).filter((name) => !name.endsWith(".lock"));
    return folder !== undefined && namesIn(`${parent}/${folder}`).length === 1;
  });
  const left = namesIn(parent);
  {
    await using held = await ScratchFolder.make(parent);
    assertEquals(namesIn(parent).filter((name) => left.includes(name)), left);
    await killed.stop("SIGKILL");
    await using next = await ScratchFolder.make(parent);
    const names = [held, next].map(({ path }) => path.slice(parent.length + 1));
    assertEquals(namesIn(parent), names.flatMap((name) => [name, `${name}.lock`]).sort());
  }
  assertEquals(namesIn(parent), []);
  await Deno.remove(parent);
});
