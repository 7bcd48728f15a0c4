/**
 * Settings of the royalty service and its commands.
 *
 * @module
 */
import { z } from "zod";
import {
  decimal,
  natsSettings,
  processSettings,
  type Settings,
  type SettingsRule,
  type SettingsShape,
  totalsSettings,
  wholeNumber,
} from "../shared/process/config.ts";
import { keyringSetting } from "../shared/process/keyring.ts";
import { postgresSettings } from "../shared/process/postgres/server_url.ts";
import { heartbeatStreams } from "../shared/contract/topology.ts";
import { isZone } from "./statement/business_day.ts";

/** Settings of the finance API. The API is served when `TWOFOLD_FINANCE_KEYS` is set. */
export const financeSettings = {
  TWOFOLD_FINANCE_KEYS: keyringSetting("reader").optional()
    .describe(
      "API keys that may read statements, reader:key separated by commas; to rotate a key, list " +
        "the reader twice; not set: no finance API",
    ),
  TWOFOLD_FINANCE_POSTGRES_URL: postgresSettings.TWOFOLD_POSTGRES_URL.optional()
    .describe(
      "URL of Postgres for the read-only role finance; required when TWOFOLD_FINANCE_KEYS is set",
    ),
  TWOFOLD_FINANCE_PORT: wholeNumber(0, 65_535).default(8090)
    .describe("port of the finance API"),
} satisfies SettingsShape;

/** Settings of the comparison of live's and royalty's totals. */
export const driftSettings = {
  ...totalsSettings,
  TWOFOLD_DRIFT_LIMIT_RATIO: decimal(0, 1).default(0.01)
    .describe(
      "maximum relative difference between live's and royalty's totals, 0 to 1; above it, " +
        "alerts.pipeline.drift opens",
    ),
  TWOFOLD_DRIFT_MIN_EVENTS: wholeNumber(1, 1_000_000).default(100)
    .describe("minimum events per compared sample"),
} satisfies SettingsShape;

/** Settings that the service and the commands use to close days. */
export const closingSettings = {
  TWOFOLD_ISSUER_POSTGRES_URL: postgresSettings.TWOFOLD_POSTGRES_URL.optional()
    .describe(
      "URL of Postgres for the role issuer, which closes days, loads the catalogue and issues " +
        "statements; required while TWOFOLD_CLOSE_SCHEDULE is on",
    ),
  TWOFOLD_CLOSE_GRACE_MS: wholeNumber(0, 7 * 86_400_000).default(3_600_000)
    .describe("time after the end of a day during which it waits for late events, ms"),
  TWOFOLD_STATEMENTS_DIR: z.string().min(1).optional()
    .describe("folder for statement files; not set: statements are stored in Postgres only"),
  TWOFOLD_TERRITORIES: z.string()
    .regex(/^[a-z0-9-]{2,32}(,[a-z0-9-]{2,32})*$/, "expected territories such as de,fr,us-east")
    .transform((text) => new Set(text.split(","))).optional()
    .describe(
      "the territories that exist, such as de,fr; a catalogue with another one is refused; not " +
        "set: any",
    ),
} satisfies SettingsShape;

/** Setting that selects the streams which are counted in this database. */
export const countedSettings = {
  TWOFOLD_ROYALTY_PARTITIONS: z.string()
    .regex(/^\d{1,2}(,\d{1,2})*$/, "expected partitions such as 0,2")
    .transform((text) => new Set(text.split(",").map(Number))).optional()
    .describe(
      "partitions counted in this database, such as 0,2; other databases count the rest; not " +
        "set: all partitions",
    ),
} satisfies SettingsShape;

/** Settings that {@link countedStreams} reads. */
type CountedSettings = Settings<typeof countedSettings> & { readonly TWOFOLD_PARTITIONS: number };

/** `TWOFOLD_ROYALTY_PARTITIONS` names partitions that exist. */
export function countedRule(
  { TWOFOLD_PARTITIONS: partitions = Infinity, TWOFOLD_ROYALTY_PARTITIONS: counted }: Partial<
    CountedSettings
  >,
) {
  const unknown = [...counted ?? []].filter((partition) => partition >= partitions);
  if (unknown.length === 0) return {};
  return {
    TWOFOLD_ROYALTY_PARTITIONS: `names ${unknown.join(", ")}, but TWOFOLD_PARTITIONS is ` +
      `${partitions} and they count from 0`,
  };
}

/** Names of the streams that are counted in this database. */
export function countedStreams(
  { TWOFOLD_PARTITIONS: partitions, TWOFOLD_ROYALTY_PARTITIONS: counted }: CountedSettings,
): string[] {
  return heartbeatStreams(partitions).filter((_, partition) => counted?.has(partition) ?? true);
}

/** When a heartbeat is too late or too far ahead. Counting and recounting share these limits. */
const timelinessSettings = {
  TWOFOLD_LATENESS_HORIZON_MS: wholeNumber(60_000, 366 * 86_400_000).default(7 * 86_400_000)
    .describe("maximum age of an event at receipt, ms; an older one is quarantined as too_late"),
  TWOFOLD_FUTURE_TOLERANCE_MS: wholeNumber(0, 86_400_000).default(300_000)
    .describe(
      "maximum time that ts may be ahead of receipt, ms; beyond it an event is quarantined as " +
        "from_the_future",
    ),
} satisfies SettingsShape;

/** Settings that the service and the commands use to recount a day. */
export const recountSettings = {
  ...timelinessSettings,
  TWOFOLD_RECOUNT_LOOK_BACK_MS: wholeNumber(0, 366 * 86_400_000).optional()
    .describe(
      "time before its day from which the recount of a close reads raw heartbeats, to find copies " +
        "of late ones, ms; not set: it reads everything that the streams keep",
    ),
  TWOFOLD_RECOUNT_DIR: z.string().min(1).optional()
    .describe(
      "folder for the sort of a recount, 32 bytes per raw heartbeat; not set: the service recounts " +
        "in memory, at most a million heartbeats",
    ),
} satisfies SettingsShape;

/** All settings of the royalty service. */
export const royaltySettings = {
  ...countedSettings,
  ...closingSettings,
  ...recountSettings,
  TWOFOLD_CLOSE_SCHEDULE: z.enum(["on", "off"]).default("on")
    .describe("whether days close automatically when they are due"),
  ...driftSettings,
  ...natsSettings,
  ...processSettings,
  ...postgresSettings,
  ...financeSettings,
  TWOFOLD_HTTP_PORT: wholeNumber(0, 65_535).default(8082)
    .describe("port of the HTTP server"),
  TWOFOLD_BUSINESS_ZONE: z.string().refine(isZone, "expected an IANA time zone").default("UTC")
    .describe("time zone of the business day; cannot be changed once the books are opened"),
  TWOFOLD_OTHER_KEYS_MAX_AGE_MS: wholeNumber(0, 3_660 * 86_400_000).default(0)
    .describe(
      "how long keys of ids other than UUIDv7 are kept, ms; 0: forever, so that none counts twice",
    ),
  TWOFOLD_ROYALTY_BATCH_EVENTS: wholeNumber(1, 100_000).default(10_000)
    .describe("maximum events per transaction"),
  TWOFOLD_ROYALTY_BATCH_WAIT_MS: wholeNumber(1_000, 5_000).default(1_000)
    .describe(
      "maximum time that a batch waits to fill, ms; the NATS client requires at least 1000",
    ),
} satisfies SettingsShape;

/** What the settings of the service may not say together. */
export const royaltyRule: SettingsRule<typeof royaltySettings> = (settings) => ({
  ...countedRule(settings),
  ...(settings.TWOFOLD_FINANCE_KEYS && settings.TWOFOLD_FINANCE_POSTGRES_URL === undefined
    ? { TWOFOLD_FINANCE_POSTGRES_URL: "is not set, but TWOFOLD_FINANCE_KEYS is" }
    : {}),
  ...(settings.TWOFOLD_CLOSE_SCHEDULE === "on" &&
      settings.TWOFOLD_ISSUER_POSTGRES_URL === undefined
    ? { TWOFOLD_ISSUER_POSTGRES_URL: "is not set, but TWOFOLD_CLOSE_SCHEDULE is on" }
    : {}),
});

/** Settings of `deno task royalty`, besides those of NATS, which some commands can do without. */
export const royaltyCliSettings = {
  ...postgresSettings,
  ...closingSettings,
  ...recountSettings,
} satisfies SettingsShape;
