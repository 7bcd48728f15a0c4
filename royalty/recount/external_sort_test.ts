import { assert, assertEquals, assertRejects } from "@std/assert";
import { evalOnFullDisk, FULL_BYTES } from "../../shared/dev/testing/full_disk.ts";
import { propertyRandom, Random } from "../../shared/dev/testing/random.ts";
import { Refused } from "../../shared/process/errors.ts";
import { ExternalSort, type ExternalSortOptions } from "./external_sort.ts";

async function sort(
  records: readonly Uint8Array[],
  options: ExternalSortOptions,
): Promise<string[]> {
  await using sorter = new ExternalSort(options);
  for (const record of records) await sorter.add(record);
  const out: string[] = [];
  for await (const chunk of sorter.sorted()) {
    for (let at = 0; at < chunk.length; at += options.recordBytes) {
      out.push(chunk.subarray(at, at + options.recordBytes).toHex());
    }
  }
  return out;
}

// Half of the records begin with the same six bytes, which is what the native sort compares.
function aRecord(random: Random, bytes: number): Uint8Array {
  const samePrefix = random.chance(0.5);
  return Uint8Array.from(
    { length: bytes },
    (_, i) => samePrefix && i < 6 ? 7 : random.int(0, random.chance(0.5) ? 1 : 255),
  );
}

Deno.test("records are returned in byte order, with any number of runs on disk", async () => {
  const random = propertyRandom("external sort against sort()");
  const folder = await Deno.makeTempDir();
  for (let run = 0; run < 30; run++) {
    const recordBytes = random.int(6, 40);
    const records = Array.from(
      { length: random.pick([0, 1, 15, 16, 17, random.int(0, 1_000)]) },
      () => aRecord(random, recordBytes),
    );
    const options = { folder, recordBytes, runRecords: 16, fanIn: random.int(2, 5) };
    assertEquals(await sort(records, options), records.map((record) => record.toHex()).sort());
  }
  assertEquals([...Deno.readDirSync(folder)], [], "no file is left");
  await Deno.remove(folder);
});

Deno.test("a run longer than one read buffer is merged completely", async () => {
  const random = propertyRandom("external sort of long runs");
  const folder = await Deno.makeTempDir();
  const records = Array.from({ length: 40_000 }, () => aRecord(random, 32));
  const options = { folder, recordBytes: 32, runRecords: 15_000 };
  assertEquals(await sort(records, options), records.map((record) => record.toHex()).sort());
  await Deno.remove(folder);
});

Deno.test("one run needs no folder; more runs need a writable one", async () => {
  const random = new Random(1);
  const records = Array.from({ length: 5 }, () => aRecord(random, 8));
  const inMemory = { folder: undefined, recordBytes: 8, runRecords: 5 };
  assertEquals(await sort(records, inMemory), records.map((record) => record.toHex()).sort());
  const more = [...records, ...records];
  const none = await assertRejects(() => sort(more, inMemory), Refused);
  assert(none.message.endsWith("set TWOFOLD_RECOUNT_DIR"), none.message);
  const missing = { ...inMemory, folder: "/nonexistent/sort" };
  const error = await assertRejects(() => sort(more, missing), Refused);
  assert(error.message.startsWith("/nonexistent/sort cannot be used for sorting: "), error.message);
});

Deno.test("a full disk is Refused with the path, and no file is left", async () => {
  const folder = await Deno.makeTempDir();
  const error = await evalOnFullDisk(`
    import { ExternalSort } from "${new URL("./external_sort.ts", import.meta.url).href}";
    await using sort = new ExternalSort({
      folder: "${folder}",
      recordBytes: 1024,
      runRecords: ${FULL_BYTES / 1024 + 1},
    });
    const record = new Uint8Array(1024);
    try {
      for (let i = 0; i < ${2 * FULL_BYTES / 1024}; i++) await sort.add(record);
    } catch ({ name, message }) {
      console.log(name, message);
    }`);
  assert(error.startsWith(`Refused ${folder}/`), error);
  assert(error.includes("cannot be used for sorting: File too large"), error);
  assertEquals([...Deno.readDirSync(folder)], []);
  await Deno.remove(folder);
});
