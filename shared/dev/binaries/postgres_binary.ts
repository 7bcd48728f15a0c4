/**
 * The programs of Postgres: from the npm package, or from `POSTGRES_BIN`.
 *
 * @module
 */
import { messageOf, Stop } from "../../process/errors.ts";
import { type ChildProcessOptions, runCommand } from "../testing/child_process.ts";
import { nameOf, type Platform, postgresAdvice, postgresPackage } from "./platform.ts";

/** Names the folder of `initdb` and `postgres` of another Postgres than the package's. */
const BIN_VARIABLE = "POSTGRES_BIN";
const OLDEST_MAJOR = 18;

/** What the npm package of Postgres exports: the path of its server. */
interface PostgresPackage {
  readonly postgres: string;
}

/** A link between its libraries; packages cannot contain links. */
interface PackagedLink {
  readonly source: string;
  readonly target: string;
}

/** The folder of the programs, after {@link installPostgres}. */
export function postgresBin(folder: string): string {
  return Deno.env.get(BIN_VARIABLE) ?? `${folder}/pgsql/bin`;
}

/**
 * Copies the programs of Postgres from the npm package into `folder`, unless it has them or `given`
 * names others. Throws {@link Stop} when there is none for this machine.
 */
export async function installPostgres(
  folder: string,
  platform: Platform = Deno.build,
  given = Deno.env.get(BIN_VARIABLE),
): Promise<void> {
  if (given !== undefined) return await requireVersion(`${given}/postgres`, platform);
  if (await fileExists(`${folder}/pgsql/ready`)) return;
  const name = postgresPackage(platform);
  if (name === undefined) {
    throw new Stop(`no Postgres package for ${nameOf(platform)}: ${postgresAdvice(platform)}`);
  }
  let index: PostgresPackage;
  try {
    index = await import(name);
  } catch (error) {
    throw new Stop(
      `the Postgres package ${name} cannot be loaded (${messageOf(error).split("\n")[0]}): ` +
        `npm must be reachable for the first start; or ${postgresAdvice(platform)}`,
    );
  }
  await copyPackage(index.postgres.replace(/\/bin\/postgres$/, ""), folder);
  await Deno.writeTextFile(`${folder}/pgsql/ready`, name);
}

// As root, another user must be able to read the binaries, and the package cache may be in a
// private home. As any other user the copy is needed too: links between libraries have to be made,
// and the cache may be read-only.
async function copyPackage(native: string, folder: string): Promise<void> {
  await runTool("cp", ["-R", native, `${folder}/pgsql`]);
  await runTool("chmod", ["-R", "a+rX,u+w", `${folder}/pgsql`]);
  await runTool("chmod", ["-R", "a+x", `${folder}/pgsql/bin`]);
  const links: PackagedLink[] = JSON.parse(
    await Deno.readTextFile(`${native}/pg-symlinks.json`).catch(() => "[]"),
  );
  for (const { source, target } of links) {
    const link = `${folder}/pgsql/${target.replace(/^native\//, "")}`;
    await Deno.remove(link).catch(() => {});
    await Deno.symlink(source.slice(source.lastIndexOf("/") + 1), link);
  }
}

async function requireVersion(postgres: string, platform: Platform): Promise<void> {
  const { out } = await runCommand(postgres, ["--version"]).catch(() => ({ out: "" }));
  const version = Number(out.match(/\(PostgreSQL\) (\d+)/)?.[1] ?? 0);
  if (version >= OLDEST_MAJOR) return;
  const found = version === 0 ? "is no Postgres" : `is Postgres ${version}`;
  throw new Stop(
    `${postgres} of ${BIN_VARIABLE} ${found}, not ${OLDEST_MAJOR}: ${postgresAdvice(platform)}`,
  );
}

/** Runs a program of Postgres, or one that copies it. Throws {@link Stop} when it fails. */
export async function runTool(
  command: string,
  args: readonly string[],
  options: ChildProcessOptions = {},
): Promise<void> {
  const { code, err } = await runCommand(command, args, options)
    .catch((error) => ({ code: -1, err: messageOf(error) }));
  if (code === 0) return;
  throw new Stop(
    `this Postgres cannot be used; ${command} failed: ${err.trim()}; ${postgresAdvice(Deno.build)}`,
  );
}

/** Whether `path` exists. */
export async function fileExists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
