/**
 * Settings from the environment: validated once at start, all errors together.
 *
 * A service declares its settings as a record of zod schemas (each with `.describe()`, most with
 * a default) and reads them with {@link readSettings}; the README's table is checked against the
 * same records.
 *
 * @module
 */
import { z } from "zod";
import { Stop } from "./errors.ts";

export type SettingsShape = Readonly<Record<`TWOFOLD_${string}`, z.ZodType>>;
export type Settings<S extends SettingsShape> = { readonly [K in keyof S]: z.output<S[K]> };

/** A whole number within bounds, written in decimal. */
export function wholeNumber(min: number, max: number): z.ZodType<number, string> {
  return z.string().regex(/^\d+$/, "expected a whole number").transform(Number)
    .pipe(z.int().min(min).max(max));
}

/** A decimal number within bounds. */
export function decimal(min: number, max: number): z.ZodType<number, string> {
  return z.string().regex(/^\d+(\.\d+)?$/, "expected a decimal number").transform(Number)
    .pipe(z.number().min(min).max(max));
}

/** Settings of earlier versions, and what replaces each: an old name must not be ignored in silence. */
const RENAMED: Readonly<Record<string, string>> = {
  TWOFOLD_LIVE_WINDOW_SECONDS: "TWOFOLD_LIVE_WINDOW_MS",
  TWOFOLD_LIVE_RESOLVE_AFTER_SECONDS: "TWOFOLD_LIVE_RESOLVE_AFTER_MS",
  TWOFOLD_LIVE_CLOSE_WITHOUT_DATA_SECONDS: "TWOFOLD_LIVE_CLOSE_WITHOUT_DATA_MS",
  TWOFOLD_LIVE_SILENCE_SECONDS: "TWOFOLD_LIVE_SILENCE_MS",
  TWOFOLD_OTHER_KEYS_DAYS: "TWOFOLD_OTHER_KEYS_MS",
};

function renamedSettings(
  shape: SettingsShape,
  env: Readonly<Record<string, string | undefined>>,
): string[] {
  return Object.entries(RENAMED)
    .filter(([old, name]) => env[old] && name in shape)
    .map(([old, name]) => `  ${old}: is now ${name}, in ms`);
}

/** Reads and validates; throws {@link Stop} that names every wrong setting at once. */
export function readSettings<S extends SettingsShape>(
  shape: S,
  env: Readonly<Record<string, string | undefined>>,
): Settings<S> {
  // An empty value in an env file means "not set".
  const given = Object.keys(shape).filter((name) => env[name]);
  const values = Object.fromEntries(given.map((name) => [name, env[name]]));
  const parsed = z.object(shape as z.ZodRawShape).safeParse(values);
  const renamed = renamedSettings(shape, env);
  if (parsed.success && renamed.length === 0) return parsed.data as Settings<S>;
  const wrong = (parsed.error?.issues ?? []).map((issue) => {
    const name = String(issue.path[0]);
    const about = (shape as Record<string, z.ZodType>)[name]?.description ?? "";
    const problem = env[name] ? issue.message : "is not set";
    return `  ${name}: ${problem} (${about})`;
  });
  throw new Stop(`settings are wrong, nothing was started:\n${[...renamed, ...wrong].join("\n")}`);
}

/** The environment that a process may read: only names that Twofold declares. */
export function environment(): Record<string, string | undefined> {
  return new Proxy({}, {
    get: (_, name) => typeof name === "string" ? Deno.env.get(name) : undefined,
  });
}

/** What says which installation is meant. */
const ADDRESSES = ["TWOFOLD_NATS_URL", "TWOFOLD_POSTGRES_URL", "TWOFOLD_POSTGRES_ADMIN_URL"];

/**
 * {@link environment}, and below it what `deno task up` wrote for `role` on this machine, so that a
 * person at the checkout's root needs to set nothing. An environment that names a server is taken
 * alone: half of one installation and half of another would be the end of both. Needs read
 * permission for `.twofold`.
 */
export function localEnvironment(
  role: "royalty" | "triage" | "ops",
): Record<string, string | undefined> {
  if (ADDRESSES.some((name) => Deno.env.get(name))) return environment();
  let file = "";
  try {
    file = Deno.readTextFileSync(`.twofold/${role}.env`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const lines = file.split("\n").filter((line) => line.includes("="));
  const local = new Map(lines.map((line) => {
    const equals = line.indexOf("=");
    return [line.slice(0, equals), line.slice(equals + 1)];
  }));
  return new Proxy({}, {
    get: (_, name) => typeof name === "string" ? Deno.env.get(name) ?? local.get(name) : undefined,
  });
}

/** Settings of every process that talks to NATS. */
export const natsSettings = {
  TWOFOLD_NATS_URL: z.string().min(1).default("127.0.0.1:4222")
    .describe("NATS servers, comma separated host:port"),
  TWOFOLD_NATS_USER: z.string().min(1).describe("NATS user of this role"),
  TWOFOLD_NATS_PASSWORD: z.string().min(1).describe("password of that user"),
  TWOFOLD_NATS_CA: z.string().startsWith("-----BEGIN CERTIFICATE-----", "expected PEM text")
    .optional()
    .describe("CA certificate as PEM text; set it to connect to NATS over TLS"),
  TWOFOLD_PARTITIONS: wholeNumber(1, 64).default(1)
    .describe("number of HEARTBEATS streams; the same for every process"),
} satisfies SettingsShape;

/** Settings of every long-running process. */
export const processSettings = {
  TWOFOLD_LOG_LEVEL: z.enum(["debug", "info", "warn", "error"]).default("info")
    .describe("least severe log line written"),
  TWOFOLD_HTTP_HOST: z.string().min(1).default("127.0.0.1")
    .describe("address that the HTTP server binds"),
  TWOFOLD_DRAIN_MS: wholeNumber(0, 60_000).default(2_000)
    .describe("how long requests are still served after SIGTERM while /readyz answers 503, ms"),
} satisfies SettingsShape;

/** Settings of every process with a Postgres schema of its own. */
export const postgresSettings = {
  TWOFOLD_POSTGRES_URL: z.string().regex(/^postgres(ql)?:\/\//, "expected a postgres:// URL")
    .describe("Postgres of this role, postgres://user:password@host:port/database"),
} satisfies SettingsShape;

/** Settings of every process that totals what it reads. */
export const totalsSettings = {
  TWOFOLD_TOTALS_INTERVAL_MS: wholeNumber(1_000, 3_600_000).default(60_000)
    .describe("length of the intervals that live and royalty total, the same for both, ms"),
} satisfies SettingsShape;
