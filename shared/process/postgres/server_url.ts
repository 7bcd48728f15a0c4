/**
 * Parses the URL of a Postgres server and database.
 *
 * A URL has a password, so no message shows any part of it.
 *
 * Pure.
 *
 * @module
 */
import { z } from "zod";
import type { SettingsShape } from "../config.ts";
import { Stop } from "../errors.ts";

/** A Postgres server and database, and who connects. */
export interface Server {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  /** Empty when the URL has none. */
  readonly password: string;
  /** `encrypted` does not verify the certificate. */
  readonly tls: "off" | "encrypted" | "verified";
}

const DEFAULT_PORT = 5_432;

const TLS_BY_SSLMODE: Readonly<Record<string, Server["tls"]>> = {
  "disable": "off",
  "require": "encrypted",
  "verify-full": "verified",
};

/** Parses `postgres://user:password@host:port/database`; throws a {@link Stop} that says why not. */
export function serverOf(url: string): Server {
  const parsed = parse(url);
  if (typeof parsed === "string") throw new Stop(`wrong Postgres URL: ${parsed}`);
  return parsed;
}

/** What is wrong with `url`, or undefined. Shows no part of it. */
export function postgresUrlProblem(url: string): string | undefined {
  const parsed = parse(url);
  return typeof parsed === "string" ? parsed : undefined;
}

/** Settings of every process that has a schema in Postgres. */
export const postgresSettings = {
  TWOFOLD_POSTGRES_URL: z.string().refine((text) => postgresUrlProblem(text) === undefined, {
    error: ({ input }) => postgresUrlProblem(String(input)),
  })
    .describe("Postgres of this role, postgres://user:password@host:port/database"),
} satisfies SettingsShape;

function parse(text: string): Server | string {
  if (!/^postgres(ql)?:\/\//.test(text)) return "expected a postgres:// URL";
  if (!URL.canParse(text)) {
    return "expected a host, and a port from 1 to 65535; write special characters of user and " +
      "password as %XX";
  }
  const url = new URL(text);
  const [user, password, database] = [url.username, url.password, url.pathname.slice(1)]
    .map(decoded);
  if (user === undefined || password === undefined || database === undefined) {
    return "expected every % of user, password and database to begin an escape (%25 is a %)";
  }
  if (user === "") return "expected a user before the host, as in user:password@host";
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  if (!/^([\w.-]+|[\da-f:.]+)$/i.test(host)) return "expected one host: a name or an address";
  const port = Number(url.port || DEFAULT_PORT);
  if (port < 1) return "expected a port from 1 to 65535";
  if (!/^[^/]+$/.test(url.pathname.slice(1))) return "expected one database after the host";
  if (url.hash !== "") return "expected no #; write it as %23";
  const mode = url.searchParams.get("sslmode") ?? "disable";
  const tls = TLS_BY_SSLMODE[mode];
  url.searchParams.delete("sslmode");
  // Others would override the settings of the connection.
  if (tls === undefined || url.search !== "") {
    return "expected one parameter at most, sslmode: disable, require or verify-full";
  }
  return { host, port, database, user, password, tls };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
