/**
 * Settings of the triage service and its commands.
 *
 * @module
 */
import {
  decimal,
  natsSettings,
  processSettings,
  type SettingsShape,
  wholeNumber,
} from "../shared/process/config.ts";
import { QUARANTINE_MAX_AGE_MS } from "../shared/contract/topology.ts";
import { postgresSettings } from "../shared/process/postgres/server_url.ts";

/** Groups of one reason, unless a setting says otherwise. */
export const DEFAULT_MAX_GROUPS = 1_000;

/** Settings of the service by environment variable; `dlq-triage/README.md` lists them. */
export const triageSettings = {
  ...natsSettings,
  ...postgresSettings,
  ...processSettings,
  TWOFOLD_HTTP_PORT: wholeNumber(0, 65_535).default(8083)
    .describe("port of the HTTP server"),
  TWOFOLD_TRIAGE_DEPTH_LIMIT: wholeNumber(1, 10_000_000_000).default(100_000)
    .describe("an alert opens when more entries than this arrived within the depth window"),
  TWOFOLD_TRIAGE_DEPTH_WINDOW_MS: wholeNumber(60_000, 30 * 86_400_000).default(86_400_000)
    .describe("time window of the quarantine's depth, ms"),
  TWOFOLD_TRIAGE_GROWTH_LIMIT: wholeNumber(1, 1_000_000_000).default(1_000)
    .describe("an alert opens when more entries than this arrived within the last minute"),
  TWOFOLD_TRIAGE_RESOLVE_SHARE: decimal(0, 1).default(0.8)
    .describe("an alert resolves below this share of its limit, 0 to 1"),
  TWOFOLD_TRIAGE_MAX_GROUPS: wholeNumber(1, 100_000).default(DEFAULT_MAX_GROUPS)
    .describe(
      "maximum groups of one reason; one more group has all that is beyond",
    ),
  TWOFOLD_TRIAGE_MAX_AGE_MS: wholeNumber(QUARANTINE_MAX_AGE_MS, 10 * 366 * 86_400_000)
    .default(QUARANTINE_MAX_AGE_MS)
    .describe("how long entries are kept, ms, at least as long as by QUARANTINE; counts stay"),
  TWOFOLD_TRIAGE_EVALUATE_MS: wholeNumber(100, 600_000).default(5_000)
    .describe("interval between two evaluations of the limits, ms"),
} satisfies SettingsShape;

/** Settings of `deno task triage`. */
export const triageCliSettings = { ...postgresSettings } satisfies SettingsShape;
