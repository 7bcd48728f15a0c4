/**
 * Settings of the royalty service and its commands.
 *
 * @module
 */
import { z } from "zod";
import {
  natsSettings,
  postgresSettings,
  processSettings,
  type SettingsShape,
  wholeNumber,
} from "../shared/config.ts";
import { isZone } from "./business_day.ts";

/** Settings of the royalty service. */
export const royaltySettings = {
  ...natsSettings,
  ...processSettings,
  ...postgresSettings,
  TWOFOLD_HTTP_PORT: wholeNumber(0, 65_535).default(8082)
    .describe("port of the HTTP server"),
  TWOFOLD_BUSINESS_ZONE: z.string().refine(isZone, "expected an IANA time zone").default("UTC")
    .describe("time zone of the business day; fixed once the books are opened"),
  TWOFOLD_LATENESS_HORIZON_MS: wholeNumber(60_000, 366 * 86_400_000).default(7 * 86_400_000)
    .describe("an event older than this at receipt is quarantined as too_late, ms"),
  TWOFOLD_FUTURE_TOLERANCE_MS: wholeNumber(0, 86_400_000).default(300_000)
    .describe("an event further ahead of receipt is quarantined as from_the_future, ms"),
  TWOFOLD_ROYALTY_BATCH_EVENTS: wholeNumber(1, 100_000).default(10_000)
    .describe("most events in one transaction"),
  TWOFOLD_ROYALTY_BATCH_WAIT_MS: wholeNumber(1_000, 10_000).default(1_000)
    .describe("longest a batch waits to fill, ms; the NATS client allows no less than 1000"),
} satisfies SettingsShape;

/** Settings of `deno task royalty`; with those of NATS, which may be missing, it tells the lag. */
export const royaltyCliSettings = { ...postgresSettings } satisfies SettingsShape;
