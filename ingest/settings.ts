/**
 * Settings of the edge, read from the environment.
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

/** Maximum size of a request body in bytes, both as sent and after inflating. */
export const MAX_BODY_BYTES = 1024 * 1024;

/** Settings by environment variable; `ingest/README.md` lists them with their defaults. */
export const ingestSettings = {
  ...natsSettings,
  ...processSettings,
  TWOFOLD_HTTP_PORT: wholeNumber(1, 65_535).default(8080).describe("port of the HTTP server"),
  TWOFOLD_HTTP_PORT_SHARED: z.enum(["0", "1"]).default("0")
    .describe("1: other processes of the edge may listen on the same port of this machine (Linux)"),
  TWOFOLD_STATUS_PORT: wholeNumber(1, 65_535).default(8087)
    .describe("port of /metrics, /healthz and /readyz for operators; not public"),
  TWOFOLD_FLEET_KEYS: keyringSetting("fleet")
    .describe(
      "bearer keys of device fleets, fleet:key pairs separated by commas; to rotate a key, add a " +
        "pair with the new key, later remove the old pair",
    ),
  TWOFOLD_CORS_ORIGINS: z.string().min(1).default("*")
    .transform((text) => text.split(",").map((origin) => origin.trim()))
    .describe("origins of browser players, comma-separated, or * for any"),
  TWOFOLD_FLEET_EVENTS_PER_SECOND: wholeNumber(0, 10_000_000).default(50_000)
    .describe("maximum events per second of one fleet through this process; 0 means no limit"),
  TWOFOLD_FLEET_BYTES_PER_SECOND: wholeNumber(0, 2 ** 36).default(32 * MAX_BODY_BYTES)
    .describe(
      "maximum bytes of events per second of one fleet through this process; 0 means no limit",
    ),
  TWOFOLD_DEVICE_EVENTS_PER_SECOND: wholeNumber(0, 10_000_000).default(50)
    .describe(
      "maximum events per second of one `device_id` through this process, after a burst of the " +
        "largest body; 0 means no limit",
    ),
  TWOFOLD_DEVICE_BYTES_PER_SECOND: wholeNumber(0, 2 ** 36).default(64 * 1024)
    .describe(
      "maximum bytes of events per second of one `device_id` through this process, after a burst of " +
        "two of the largest bodies; 0 means no limit",
    ),
  TWOFOLD_MAX_EVENTS_PER_BODY: wholeNumber(1, 20_000).default(5_000)
    .describe("maximum events per request"),
  TWOFOLD_BODY_DEADLINE_MS: wholeNumber(100, 9_000).default(5_000)
    .describe("maximum time for a request body to arrive, ms"),
  TWOFOLD_MAX_WAITING_BODIES: wholeNumber(16, 1_000_000).default(500)
    .describe("maximum bodies that are arriving; beyond it the oldest is answered 408"),
  TWOFOLD_MAX_IN_FLIGHT_EVENTS: wholeNumber(20_000, 10_000_000).default(50_000)
    .describe("maximum events waiting for JetStream's acknowledgement"),
  TWOFOLD_MAX_IN_FLIGHT_BYTES: wholeNumber(4 * MAX_BODY_BYTES, 2 ** 36).default(64 * MAX_BODY_BYTES)
    .describe("maximum bytes held by requests in progress, as sent and inflated"),
  TWOFOLD_BATCH_EVENTS: wholeNumber(1, 1_000).default(500)
    .describe("maximum events per batch sent to JetStream"),
  TWOFOLD_BATCHES_UNDER_WAY: wholeNumber(1, 16).default(4)
    .describe("maximum batches in flight to one stream on a short link; a long one holds more"),
  TWOFOLD_BATCH_LINGER_MS: wholeNumber(0, 1_000).default(25)
    .describe("maximum time that an event waits for its batch to fill, ms"),
  TWOFOLD_ACK_DEADLINE_MS: wholeNumber(100, 9_000).default(5_000)
    .describe("maximum time that a request waits for JetStream, retries included, ms"),
} satisfies SettingsShape;
