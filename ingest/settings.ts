/**
 * What an operator may set of the edge.
 *
 * @module
 */
import { z } from "zod";
import {
  natsSettings,
  processSettings,
  type SettingsShape,
  wholeNumber,
} from "../shared/process/config.ts";
import { keyringSetting } from "../shared/process/keyring.ts";

/** The largest body the edge reads, as sent and after gunzip, in bytes. */
export const MAX_BODY_BYTES = 1024 * 1024;

export const ingestSettings = {
  ...natsSettings,
  ...processSettings,
  TWOFOLD_HTTP_PORT: wholeNumber(1, 65_535).default(8080).describe("port of the HTTP server"),
  TWOFOLD_FLEET_KEYS: keyringSetting("fleet")
    .describe(
      "bearer keys of device fleets, fleet:key separated by commas; to rotate, repeat the fleet " +
        "with a new key, later drop the old",
    ),
  TWOFOLD_CORS_ORIGINS: z.string().min(1).default("*")
    .transform((text) => text.split(",").map((origin) => origin.trim()))
    .describe("origins of browser players, comma separated, or *"),
  TWOFOLD_FLEET_EVENTS_PER_SECOND: wholeNumber(0, 10_000_000).default(0)
    .describe("events a second one fleet may send through this process; 0 is no limit"),
  TWOFOLD_MAX_EVENTS_PER_BODY: wholeNumber(1, 20_000).default(5_000)
    .describe("most events in one request"),
  TWOFOLD_BODY_DEADLINE_MS: wholeNumber(100, 9_000).default(5_000)
    .describe("longest that a request body may take to arrive, ms"),
  TWOFOLD_MAX_IN_FLIGHT_EVENTS: wholeNumber(20_000, 10_000_000).default(50_000)
    .describe("most events waiting for JetStream's acknowledgement"),
  TWOFOLD_MAX_IN_FLIGHT_BYTES: wholeNumber(4 * MAX_BODY_BYTES, 2 ** 36).default(64 * MAX_BODY_BYTES)
    .describe("most bytes of requests under way, as sent and inflated"),
  TWOFOLD_BATCH_EVENTS: wholeNumber(1, 1_000).default(500)
    .describe("most events in one batch to JetStream"),
  TWOFOLD_BATCHES_UNDER_WAY: wholeNumber(1, 16).default(4)
    .describe("batches on their way to one stream at a time"),
  TWOFOLD_BATCH_LINGER_MS: wholeNumber(0, 1_000).default(25)
    .describe("longest that an event waits for others to share its batch, ms"),
  TWOFOLD_ACK_DEADLINE_MS: wholeNumber(100, 9_000).default(5_000)
    .describe("longest that a request waits for JetStream, retries included, ms"),
} satisfies SettingsShape;
