import { assertEquals, assertExists, assertRejects, assertStringIncludes } from "@std/assert";
import { Refused, RetryAfter } from "../../shared/process/errors.ts";
import { evalOnFullDisk, FULL_BYTES } from "../../shared/dev/testing/full_disk.ts";
import { Workspace } from "../../shared/dev/servers/workspace.ts";
import { StatementFiles } from "./files.ts";

const STATEMENT = {
  day: "2026-11-22",
  version: 1,
  csv: new TextEncoder().encode("line_type\r\n"),
  manifest: new TextEncoder().encode("{}\n"),
};
const CSV = "statement-2026-11-22-v1.csv";
const MANIFEST = "statement-2026-11-22-v1.manifest.json";

function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

Deno.test("concurrent and repeated writes give the same files and leave no temporary ones", async () => {
  await using workspace = await Workspace.temporary();
  const files = new StatementFiles(`${workspace.folder}/new/statements`);
  assertEquals(await files.has(STATEMENT), false);
  await Promise.all(Array.from({ length: 8 }, () => files.write(STATEMENT)));
  await files.write(STATEMENT);
  assertEquals(namesIn(files.folder), [CSV, MANIFEST]);
  assertEquals(await Deno.readFile(`${files.folder}/${CSV}`), STATEMENT.csv);
  assertEquals([await files.has(STATEMENT), await files.faults(STATEMENT)], [true, []]);
});

Deno.test("a file with other bytes is reported and never overwritten", async () => {
  await using workspace = await Workspace.temporary();
  const files = new StatementFiles(workspace.folder);
  await files.write(STATEMENT);
  await Deno.writeTextFile(`${files.folder}/${CSV}`, "changed");
  await assertRejects(() => files.write(STATEMENT), Refused, "is not overwritten");
  assertEquals(await Deno.readTextFile(`${files.folder}/${CSV}`), "changed");
  await Deno.remove(`${files.folder}/${MANIFEST}`);
  assertEquals(await files.faults(STATEMENT), [
    `${files.folder}/${CSV} has other bytes than Postgres`,
    `${files.folder}/${MANIFEST} is missing`,
  ]);
});

Deno.test("a folder that cannot be written is a RetryAfter", async () => {
  await using workspace = await Workspace.temporary();
  const folder = `${workspace.folder}/statements`;
  await Deno.writeTextFile(folder, "");
  const files = new StatementFiles(folder);
  const error = await assertRejects(() => files.write(STATEMENT), RetryAfter);
  assertStringIncludes(error.message, "safe in Postgres");
  await Deno.remove(folder);
  await files.write(STATEMENT);
  assertEquals(namesIn(folder), [CSV, MANIFEST]);
});

Deno.test("a disk that fills up leaves no partial file, and the next attempt writes it whole", async () => {
  await using workspace = await Workspace.temporary();
  const files = new StatementFiles(workspace.folder);
  const csv = new Uint8Array(FULL_BYTES + 1).fill(65);
  const error = await evalOnFullDisk(`
    import { StatementFiles } from "${new URL("./files.ts", import.meta.url).href}";
    const manifest = new TextEncoder().encode("{}");
    const csv = new Uint8Array(${csv.length}).fill(65);
    await new StatementFiles("${files.folder}")
      .write({ day: "2026-11-22", version: 1, csv, manifest })
      .catch(({ name, message }) => console.log(name, message));`);
  assertStringIncludes(error, `RetryAfter ${files.folder}/${CSV} cannot be written`);
  assertStringIncludes(error, "The statement is safe in Postgres");
  assertEquals(namesIn(files.folder), []);
  await files.write({ ...STATEMENT, csv });
  assertEquals(await Deno.readFile(`${files.folder}/${CSV}`), csv);
});

Deno.test("sweep removes temporary files older than an hour and no others", async () => {
  await using workspace = await Workspace.temporary();
  const files = new StatementFiles(workspace.folder);
  const part = `.${CSV}.5ba1.part`;
  await Deno.writeTextFile(`${files.folder}/${part}`, "half");
  const { mtime } = Deno.statSync(`${files.folder}/${part}`);
  assertExists(mtime);
  const made = mtime.getTime();
  const before = namesIn(files.folder);
  await files.sweep(made + 3_600_000);
  assertEquals(namesIn(files.folder), before);
  await files.sweep(made + 3_600_001);
  assertEquals(namesIn(files.folder), before.filter((name) => name !== part));
});
