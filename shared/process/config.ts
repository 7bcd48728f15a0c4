/**
 * Reads settings from environment variables: validated once at the start, all errors together.
 *
 * A process declares its settings as a record of zod schemas, each with `.describe()` and most with
 * a default, and reads them with {@link readSettings}. A test compares the record with the settings
 * table in the README of the service.
 *
 * @module
 */
import { z } from "zod";
import { messageOf, Stop } from "./errors.ts";
import { AddressList } from "./http/addresses.ts";

/** The settings of a process: a schema by environment variable. */
export type SettingsShape = Readonly<Record<`TWOFOLD_${string}`, z.ZodType>>;
/** The validated values of the settings of `S`. */
export type Settings<S extends SettingsShape> = { readonly [K in keyof S]: z.output<S[K]> };

/** A setting that is a whole number from `min` to `max`, in decimal digits. */
export function wholeNumber(min: number, max: number): z.ZodType<number, string> {
  return z.string().regex(/^\d+$/, "expected a whole number").transform(Number)
    .pipe(z.int().min(min).max(max));
}

/** A setting that is a number from `min` to `max`, in decimal notation without exponent. */
export function decimal(min: number, max: number): z.ZodType<number, string> {
  return z.string().regex(/^\d+(\.\d+)?$/, "expected a decimal number").transform(Number)
    .pipe(z.number().min(min).max(max));
}

/** The {@link Stop} of a process with wrong settings; it exits with 2, as for a wrong command line. */
export function wrongSettings(lines: readonly string[]): Stop {
  return new Stop(
    `invalid settings, nothing was started:\n${lines.map((line) => `  ${line}`).join("\n")}`,
    { exitCode: 2 },
  );
}

/** Renamed settings by their old name: an old name is an error, never silently ignored. */
const RENAMED: Readonly<Record<string, string>> = {
  TWOFOLD_LIVE_SILENCE_SECONDS: "TWOFOLD_LIVE_SILENCE_MS",
  TWOFOLD_OTHER_KEYS_DAYS: "TWOFOLD_OTHER_KEYS_MAX_AGE_MS",
  TWOFOLD_OTHER_KEYS_MS: "TWOFOLD_OTHER_KEYS_MAX_AGE_MS",
  TWOFOLD_DRIFT_LIMIT: "TWOFOLD_DRIFT_LIMIT_RATIO",
};

const FALSE_PAGES = "TWOFOLD_LIVE_FALSE_PAGES_PER_DAY";
const LEARNED = "what is usual is learned, and what is improbable opens an incident; " +
  `${FALSE_PAGES} says how many pages may be about nothing`;
const RECOVERED = "an incident resolves once viewers are back at what was usual, for 20 s; " +
  "there is nothing to set";
const SPANS = "a session is judged over 10, 20 and 60 s; there is nothing to set";

/** Removed settings: a setting that is there since, and what replaces them. Errors, too. */
const REMOVED: Readonly<Record<string, readonly [since: string, instead: string]>> = {
  TWOFOLD_LIVE_OPEN_RATIO: [FALSE_PAGES, LEARNED],
  TWOFOLD_LIVE_MIN_HEARTBEATS: [FALSE_PAGES, LEARNED],
  TWOFOLD_LIVE_MIN_STALLED_SESSIONS: [FALSE_PAGES, LEARNED],
  TWOFOLD_LIVE_RESOLVE_RATIO: [FALSE_PAGES, RECOVERED],
  TWOFOLD_LIVE_RESOLVE_AFTER_MS: [FALSE_PAGES, RECOVERED],
  TWOFOLD_LIVE_RESOLVE_AFTER_SECONDS: [FALSE_PAGES, RECOVERED],
  TWOFOLD_LIVE_CLOSE_WITHOUT_DATA_MS: [
    FALSE_PAGES,
    "an incident is closed after 600 s with too few viewers to tell; there is nothing to set",
  ],
  TWOFOLD_LIVE_CLOSE_WITHOUT_DATA_SECONDS: [
    FALSE_PAGES,
    "an incident is closed after 600 s with too few viewers to tell; there is nothing to set",
  ],
  TWOFOLD_LIVE_WINDOW_MS: [FALSE_PAGES, SPANS],
  TWOFOLD_LIVE_WINDOW_SECONDS: [FALSE_PAGES, SPANS],
  TWOFOLD_LIVE_MAX_KEYS: [
    "TWOFOLD_LIVE_MAX_CELLS",
    "TWOFOLD_LIVE_MAX_CELLS and TWOFOLD_LIVE_MAX_SESSIONS bound memory",
  ],
};

function goneSettings(
  shape: SettingsShape,
  env: Readonly<Record<string, string | undefined>>,
): string[] {
  const renamed = Object.entries(RENAMED)
    .filter(([old, name]) => env[old] && name in shape)
    .map(([old, name]) => `${old}: renamed to ${name}${name.endsWith("_MS") ? ", in ms" : ""}`);
  const removed = Object.entries(REMOVED)
    .filter(([old, [since]]) => env[old] && since in shape)
    .map(([old, [, instead]]) => `${old}: removed; ${instead}`);
  return [...renamed, ...removed];
}

/**
 * A rule about several settings of a process: what is wrong, by the name of the setting to change.
 * Settings that are invalid by themselves are undefined for it.
 */
export type SettingsRule<S extends SettingsShape> = (
  settings: Partial<Settings<S>>,
) => { readonly [K in keyof S]?: string | undefined };

// What is wrong in a setting that is JSON, and where: `[1].url: expected an http URL`.
function issueText({ path, message }: z.core.$ZodIssue): string {
  const where = path.map((part) => typeof part === "number" ? `[${part}]` : `.${String(part)}`)
    .join("").replace(/^\./, "");
  return where === "" ? message : `${where}: ${message}`;
}

/**
 * Reads the settings of `shape` from `env`. Throws {@link wrongSettings} that name every setting that
 * is invalid by itself or by `rule`.
 */
export function readSettings<S extends SettingsShape>(
  shape: S,
  env: Readonly<Record<string, string | undefined>>,
  rule: SettingsRule<S> = () => ({}),
): Settings<S> {
  const settings: Record<string, unknown> = {};
  const problems = new Map<string, string>();
  const schemas = new Map<string, z.ZodType>(Object.entries(shape));
  for (const [name, schema] of schemas) {
    // An empty value in an env file means "not set".
    const { success, data, error } = schema.safeParse(env[name] || undefined);
    if (success) settings[name] = data;
    else {problems.set(
        name,
        env[name] ? error.issues.map(issueText).join("; ") : "is not set",
      );}
  }
  for (const [name, problem] of Object.entries(rule(settings as Partial<Settings<S>>))) {
    if (problem !== undefined && !problems.has(name)) problems.set(name, problem);
  }
  const wrong = [
    ...goneSettings(shape, env),
    ...[...problems].map(([name, problem]) =>
      `${name}: ${problem} (${schemas.get(name)?.description})`
    ),
  ];
  if (wrong.length > 0) throw wrongSettings(wrong);
  return settings as Settings<S>;
}

/** The environment variables of this process; each is read when it is accessed. */
export function environment(): Record<string, string | undefined> {
  return new Proxy({}, {
    get: (_, name) => typeof name === "string" ? Deno.env.get(name) : undefined,
  });
}

/** Settings that select an installation. */
const ADDRESS_SETTINGS = ["TWOFOLD_NATS_URL", "TWOFOLD_POSTGRES_URL", "TWOFOLD_POSTGRES_ADMIN_URL"];

/**
 * {@link environment} with fallback to the file that `deno task up` wrote for `role`, so that
 * commands work at the root of the checkout without settings. Without fallback when the environment
 * names a server, so that the settings of two installations are never mixed. Needs read permission
 * for `.twofold`.
 */
export function localEnvironment(
  role: "royalty" | "triage" | "ops" | "oncall",
): Record<string, string | undefined> {
  if (ADDRESS_SETTINGS.some((name) => Deno.env.get(name))) return environment();
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

/**
 * What is wrong with a list of NATS servers, or undefined. Shows no part of it, because a person may
 * have put a password there.
 */
function serversProblem(text: string): string | undefined {
  for (const [index, pair] of text.split(",").entries()) {
    const server = pair.trim().replace(/^nats:\/\//, "");
    const [, host = "", port = "4222"] = server.match(/^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/) ?? [];
    const isHost = /^(\[[\da-f:.]+\]|[\w.-]+)$/i.test(host) && URL.canParse(`http://${host}`);
    if (isHost && Number(port) >= 1 && Number(port) <= 65_535) continue;
    return `expected host:port pairs with commas between; pair ${index + 1} is none (user, ` +
      "password and TLS have settings of their own)";
  }
}

/** Settings of every process that connects to NATS. */
export const natsSettings = {
  TWOFOLD_NATS_URL: z.string().refine((text) => serversProblem(text) === undefined, {
    error: ({ input }) => serversProblem(String(input)),
  }).default("127.0.0.1:4222")
    .describe("NATS servers, host:port pairs separated by commas"),
  TWOFOLD_NATS_USER: z.string().min(1).describe("NATS user of this role"),
  TWOFOLD_NATS_PASSWORD: z.string().min(1).describe("password of that user"),
  TWOFOLD_NATS_CA: z.string().startsWith("-----BEGIN CERTIFICATE-----", "expected PEM text")
    .optional()
    .describe("CA certificate as PEM text; set it to connect to NATS over TLS"),
  TWOFOLD_PARTITIONS: wholeNumber(1, 64).default(1)
    .describe("number of HEARTBEATS streams, the same for every process"),
} satisfies SettingsShape;

/** A setting that is a list of addresses and CIDR blocks, separated by commas. */
function addressList(): z.ZodType<AddressList, string> {
  return z.string().transform((text, context): AddressList => {
    try {
      return new AddressList(text.split(",").map((each) => each.trim()).filter(Boolean));
    } catch (error) {
      context.addIssue({ code: "custom", message: messageOf(error) });
      return z.NEVER;
    }
  });
}

/** Settings of every long-running process. */
export const processSettings = {
  TWOFOLD_LOG_LEVEL: z.enum(["debug", "info", "warn", "error"]).default("info")
    .describe("minimum level of log lines"),
  TWOFOLD_HTTP_HOST: z.string().min(1).default("127.0.0.1")
    .describe("address that the HTTP server binds"),
  TWOFOLD_DRAIN_MS: wholeNumber(0, 60_000).default(2_000)
    .describe("time after SIGTERM in which requests are served while /readyz answers 503, ms"),
  TWOFOLD_HTTP_MAX_CONNECTIONS: wholeNumber(10, 1_000_000).default(8_000)
    .describe("maximum open connections of a port; beyond it the oldest that wait give way"),
  TWOFOLD_HTTP_MAX_PER_ADDRESS: wholeNumber(0, 1_000_000).default(1_000)
    .describe(
      "maximum connections from one address (version 6: one /64 block), or requests in progress " +
        "of one address behind trusted proxies; 0 means no limit",
    ),
  TWOFOLD_HTTP_HEADER_MS: wholeNumber(100, 60_000).default(5_000)
    .describe("maximum time from a connection to the complete header of its first request, ms"),
  TWOFOLD_HTTP_REQUEST_MS: wholeNumber(1_000, 86_400_000).default(600_000)
    .describe("maximum time from the header of a request to the end of its response, ms"),
  TWOFOLD_HTTP_IDLE_MS: wholeNumber(100, 3_600_000).default(75_000)
    .describe(
      "maximum time from a response to the complete header of the next request, ms; longer than " +
        "that of the load balancer",
    ),
  TWOFOLD_TRUSTED_PROXIES: addressList().optional()
    .describe("addresses and CIDR blocks of proxies whose TWOFOLD_PROXY_HEADER is believed"),
  TWOFOLD_PROXY_HEADER: z.string().regex(/^[A-Za-z0-9-]+$/).default("X-Forwarded-For")
    .describe("header in which trusted proxies append the address of the client"),
} satisfies SettingsShape;

/** Settings of every process that totals HEARTBEATS; see `totals.ts`. */
export const totalsSettings = {
  TWOFOLD_TOTALS_INTERVAL_MS: wholeNumber(1_000, 3_600_000).default(60_000)
    .describe("length of the intervals of live's and royalty's totals, the same for both, ms"),
} satisfies SettingsShape;
