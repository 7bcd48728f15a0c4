/**
 * Settings of the pager.
 *
 * @module
 */
import { z } from "zod";
import {
  natsSettings,
  processSettings,
  type SettingsRule,
  type SettingsShape,
  wholeNumber,
} from "../../shared/process/config.ts";
import { receiversSetting, withSecrets } from "./receivers/receiver.ts";

/** Settings by environment variable; `live/pager/README.md` lists them with their defaults. */
export const pagerSettings = {
  ...natsSettings,
  ...processSettings,
  TWOFOLD_HTTP_PORT: wholeNumber(0, 65_535).default(8084)
    .describe("port of the HTTP server"),
  TWOFOLD_PAGER_RECEIVERS: receiversSetting.optional()
    .describe("who is paged, as a JSON array; secrets are in variables that it names"),
  TWOFOLD_PAGER_SERVICES: z.string().default("ingest,live,royalty,triage")
    .transform((text) => text.split(","))
    .pipe(z.array(z.string().regex(/^[a-z0-9-]{1,32}$/, "expected names separated by commas")))
    .describe("services whose pulse has to be heard, separated by commas"),
  TWOFOLD_PAGER_HOSTS: z.string().transform((text) => text.toLowerCase().split(","))
    .pipe(z.array(z.hostname("expected host names separated by commas")))
    .optional()
    .describe("names of the board besides addresses and names without a dot, separated by commas"),
  TWOFOLD_PAGER_EDGE_URL: z.url({ protocol: /^https?$/, error: "expected an http or https URL" })
    .optional()
    .describe("the edge, to send a canary to for each partition; unset: no canaries"),
  TWOFOLD_PAGER_EDGE_KEY: z.string().regex(/^[!-~]{1,512}$/, "expected printable ASCII").optional()
    .describe("fleet key of the canaries; with `TWOFOLD_PAGER_EDGE_URL` only"),
  TWOFOLD_PAGER_CANARY_INTERVAL_MS: wholeNumber(100, 60_000).default(5_000)
    .describe("time between two canaries of a partition, ms"),
} satisfies SettingsShape;

/**
 * Every secret that a receiver names is in `secrets`, the environment variables, and the edge has a
 * URL and a key, or neither.
 */
export function pagerRule(
  secrets: Readonly<Record<string, string | undefined>>,
): SettingsRule<typeof pagerSettings> {
  return ({
    TWOFOLD_PAGER_RECEIVERS: configs = [],
    TWOFOLD_PAGER_EDGE_URL: url,
    TWOFOLD_PAGER_EDGE_KEY: key,
  }) => {
    const found = withSecrets(configs, secrets);
    return {
      TWOFOLD_PAGER_RECEIVERS: "receivers" in found ? undefined : found.missing.join("; "),
      TWOFOLD_PAGER_EDGE_URL: !url && key ? "is not set, but the key of the edge is" : undefined,
      TWOFOLD_PAGER_EDGE_KEY: url && !key ? "is not set, but the URL of the edge is" : undefined,
    };
  };
}
