/**
 * Settings of the royalty service and its commands.
 *
 * @module
 */
import { z } from "zod";
import {
  decimal,
  natsSettings,
  postgresSettings,
  processSettings,
  type Settings,
  type SettingsShape,
  totalsSettings,
  wholeNumber,
} from "../shared/process/config.ts";
import { Stop } from "../shared/process/errors.ts";
import { keyringSetting } from "../shared/process/keyring.ts";
import { heartbeatStreams } from "../shared/contract/topology.ts";
import { isZone } from "./statement/business_day.ts";

/** Settings of the finance API. It is served when it has keys. */
export const financeSettings = {
  TWOFOLD_FINANCE_KEYS: keyringSetting("reader").optional()
    .describe(
      "keys that read statements, reader:key by commas; to rotate, repeat the reader with a new " +
        "key; not set: no finance API",
    ),
  TWOFOLD_FINANCE_POSTGRES_URL: postgresSettings.TWOFOLD_POSTGRES_URL.optional()
    .describe("Postgres of the role finance, which only reads; needed with finance keys"),
  TWOFOLD_FINANCE_PORT: wholeNumber(0, 65_535).default(8090)
    .describe("port of the finance API"),
} satisfies SettingsShape;

/** Settings of the comparison with live. */
export const driftSettings = {
  ...totalsSettings,
  TWOFOLD_DRIFT_LIMIT: decimal(0, 1).default(0.01)
    .describe("share that live's and royalty's totals may be apart; alerts.pipeline.drift beyond"),
  TWOFOLD_DRIFT_MIN_EVENTS: wholeNumber(1, 1_000_000).default(100)
    .describe("least number of events that are compared as one sample"),
} satisfies SettingsShape;

/** Settings of closing days, for the service and for the commands. */
export const closingSettings = {
  TWOFOLD_CLOSE_GRACE_MS: wholeNumber(0, 7 * 86_400_000).default(3_600_000)
    .describe("how long after its end a day waits for late events before it closes, ms"),
  TWOFOLD_STATEMENTS_DIR: z.string().min(1).optional()
    .describe("folder that statements are written to; not set: they are in Postgres only"),
} satisfies SettingsShape;

/** Which of the streams are counted in this database. */
export const countedSettings = {
  TWOFOLD_ROYALTY_PARTITIONS: z.string()
    .regex(/^\d{1,2}(,\d{1,2})*$/, "expected partitions such as 0,2")
    .transform((text) => new Set(text.split(",").map(Number))).optional()
    .describe("partitions that this database counts, others in others; not set: all of them"),
} satisfies SettingsShape;

/** The streams that are counted in this database, of all that there are. */
export function countedStreams(
  { TWOFOLD_PARTITIONS: partitions, TWOFOLD_ROYALTY_PARTITIONS: counted }:
    & Settings<typeof countedSettings>
    & { readonly TWOFOLD_PARTITIONS: number },
): string[] {
  const unknown = [...counted ?? []].filter((partition) => partition >= partitions);
  if (unknown.length > 0) {
    throw new Stop(
      `TWOFOLD_ROYALTY_PARTITIONS names ${unknown.join(", ")}, but there are ${partitions} ` +
        "partitions, counted from 0",
    );
  }
  return heartbeatStreams(partitions).filter((_, partition) => counted?.has(partition) ?? true);
}

/** When a heartbeat is late or ahead: to count by, and to recount by. */
const timelinessSettings = {
  TWOFOLD_LATENESS_HORIZON_MS: wholeNumber(60_000, 366 * 86_400_000).default(7 * 86_400_000)
    .describe("an event older than this at receipt is quarantined as too_late, ms"),
  TWOFOLD_FUTURE_TOLERANCE_MS: wholeNumber(0, 86_400_000).default(300_000)
    .describe("an event further ahead of receipt is quarantined as from_the_future, ms"),
} satisfies SettingsShape;

/** Settings of the recount of a day, for the service and for the commands. */
export const recountSettings = {
  ...timelinessSettings,
  TWOFOLD_RECOUNT_LOOK_BACK_MS: wholeNumber(0, 366 * 86_400_000).optional()
    .describe(
      "how far before its day the recount of a close looks for copies of late heartbeats, ms; not " +
        "set: in all that is kept",
    ),
  TWOFOLD_RECOUNT_DIR: z.string().min(1).optional()
    .describe(
      "folder that a recount sorts in, 32 bytes per raw heartbeat; not set: the service recounts " +
        "in memory, a million heartbeats at most",
    ),
} satisfies SettingsShape;

/** Settings of the royalty service. */
export const royaltySettings = {
  ...countedSettings,
  ...closingSettings,
  ...recountSettings,
  TWOFOLD_CLOSE_SCHEDULE: z.enum(["on", "off"]).default("on")
    .describe("whether days close by themselves when their time has come"),
  ...driftSettings,
  ...natsSettings,
  ...processSettings,
  ...postgresSettings,
  ...financeSettings,
  TWOFOLD_HTTP_PORT: wholeNumber(0, 65_535).default(8082)
    .describe("port of the HTTP server"),
  TWOFOLD_BUSINESS_ZONE: z.string().refine(isZone, "expected an IANA time zone").default("UTC")
    .describe("time zone of the business day; fixed once the books are opened"),
  TWOFOLD_OTHER_KEYS_MS: wholeNumber(0, 3_660 * 86_400_000).default(0)
    .describe(
      "how long ids other than UUIDv7 are remembered, ms; 0: for ever, so none counts twice",
    ),
  TWOFOLD_ROYALTY_BATCH_EVENTS: wholeNumber(1, 100_000).default(10_000)
    .describe("most events in one transaction"),
  TWOFOLD_ROYALTY_BATCH_WAIT_MS: wholeNumber(1_000, 10_000).default(1_000)
    .describe("longest a batch waits to fill, ms; the NATS client allows no less than 1000"),
} satisfies SettingsShape;

/** Settings of `deno task royalty`; with those of NATS, which may be missing, it tells the lag. */
export const royaltyCliSettings = {
  ...postgresSettings,
  ...closingSettings,
  ...recountSettings,
} satisfies SettingsShape;
