/**
 * Settings of the live service.
 *
 * @module
 */
import {
  decimal,
  natsSettings,
  processSettings,
  type SettingsRule,
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
  TWOFOLD_LIVE_WINDOW_MS: wholeNumber(10_000, 600_000)
    .refine((ms) => ms % 1_000 === 0, "expected whole seconds").default(60_000)
    .describe("length of the sliding window and maximum lateness of a heartbeat, ms"),
  TWOFOLD_LIVE_MAX_KEYS: wholeNumber(1, 1_000_000).default(50_000)
    .describe(
      "maximum titles × regions in the window, about 1.5 kB each; beyond it the least recently " +
        "updated are evicted",
    ),
  TWOFOLD_LIVE_OPEN_RATIO: decimal(0.001, 1).default(0.05)
    .describe("rebuffer ratio above which an incident opens, with 95 % confidence"),
  TWOFOLD_LIVE_RESOLVE_RATIO: decimal(0, 1).default(0.02)
    .describe(
      "rebuffer ratio at or below which an incident resolves; below TWOFOLD_LIVE_OPEN_RATIO",
    ),
  TWOFOLD_LIVE_MIN_HEARTBEATS: wholeNumber(1, 1_000_000).default(25)
    .describe("minimum sample to open an incident, in heartbeats of 10 s"),
  TWOFOLD_LIVE_MIN_STALLED_SESSIONS: wholeNumber(1, 200).default(3)
    .describe("minimum stalled sessions to open an incident"),
  TWOFOLD_LIVE_RESOLVE_AFTER_MS: wholeNumber(0, 3_600_000).default(15_000)
    .describe(
      "time at or below TWOFOLD_LIVE_RESOLVE_RATIO before an incident resolves, ms of event time",
    ),
  TWOFOLD_LIVE_CLOSE_WITHOUT_DATA_MS: wholeNumber(1_000, 86_400_000).default(300_000)
    .describe("time without viewers after which an open incident is closed, ms of event time"),
  TWOFOLD_LIVE_SILENCE_MS: wholeNumber(1_000, 3_600_000).default(30_000)
    .describe("time without any heartbeat after which alerts.pipeline.no-data opens, ms"),
} satisfies SettingsShape;

/** What the settings may not say together. */
export const liveRule: SettingsRule<typeof liveSettings> = (
  { TWOFOLD_LIVE_RESOLVE_RATIO: resolveRatio = -1, TWOFOLD_LIVE_OPEN_RATIO: openRatio = 2 },
) => ({
  TWOFOLD_LIVE_RESOLVE_RATIO: resolveRatio < openRatio
    ? undefined
    : `is ${resolveRatio}, not below TWOFOLD_LIVE_OPEN_RATIO, ${openRatio}`,
});
