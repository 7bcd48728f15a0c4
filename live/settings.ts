/**
 * Settings of the live service.
 *
 * @module
 */
import {
  decimal,
  natsSettings,
  processSettings,
  type SettingsShape,
  totalsSettings,
  wholeNumber,
} from "../shared/process/config.ts";

/** Settings by environment variable; `live/README.md` lists them with their defaults. */
export const liveSettings = {
  ...natsSettings,
  ...processSettings,
  ...totalsSettings,
  TWOFOLD_HTTP_PORT: wholeNumber(0, 65_535).default(8081)
    .describe("port of the HTTP server"),
  TWOFOLD_LIVE_FALSE_PAGES_PER_DAY: decimal(0.001, 1_000).default(1)
    .describe(
      "pages a day that may be about nothing, over 100,000 watched cells; fewer means that " +
        "incidents need more evidence",
    ),
  TWOFOLD_LIVE_PAGES_PER_MINUTE: wholeNumber(1, 1_000).default(10)
    .describe("maximum pages in any minute; what opens beyond that folds into one incident"),
  TWOFOLD_LIVE_MAX_SESSIONS: wholeNumber(1_000, 10_000_000).default(500_000)
    .describe(
      "maximum viewer sessions; beyond it those that expire next make room for new ones",
    ),
  TWOFOLD_LIVE_MAX_CELLS: wholeNumber(1_000, 5_000_000).default(500_000)
    .describe(
      "maximum cells: titles, regions, cohorts and their combinations that have viewers or " +
        "baselines",
    ),
  TWOFOLD_LIVE_SILENCE_MS: wholeNumber(1_000, 3_600_000).default(30_000)
    .describe("time without any heartbeat after which alerts.pipeline.no-data opens, ms"),
} satisfies SettingsShape;
